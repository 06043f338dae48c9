"""The closed form of Grad-CAM against autograd's."""

import pytest
import torch
from torch import nn

from vision.explain.gradcam import activation_slope, head_jacobian, heatmaps
from vision.export.explain import OUTPUTS, explain_model
from vision.export.onnx import export_onnx
from vision.export.runtime import onnx_run
from vision.models.factory import Backbone, Classifier, build_head
from vision.models.network import ServedModel

CLASSES = 3


def network(arch: str, head: str) -> Classifier:
    """Random weights whose batch norms have seen a batch, so that activations are of ordinary size."""
    torch.manual_seed(1)
    model = Classifier(Backbone(arch), build_head(arch, CLASSES, head, hidden=24, dropout=0.3))
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(8, 3, 64, 64))
    return model.eval()


def autograd_heatmaps(model: Classifier, images: torch.Tensor) -> torch.Tensor:
    """Selvaraju et al. 2017, equations 1 and 2, class by class."""
    features = model.feature_map(images)
    logits = model.head(features.mean(dim=(2, 3)))
    maps = []
    for label in range(CLASSES):
        (gradient,) = torch.autograd.grad(logits[:, label].sum(), features, retain_graph=True)
        weights = gradient.mean(dim=(2, 3), keepdim=True)
        maps.append(torch.relu((weights * features).sum(dim=1)))
    return torch.stack(maps, dim=1).detach()


@pytest.mark.parametrize("head", ["linear", "mlp"])
@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v3_small", "efficientnet_b0"])
def test_closed_form_equals_autograd(arch, head):
    model = network(arch, head)
    served = ServedModel(model, ("logits", "embedding"), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)).eval()
    images = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    pixels = served.normalise(images)
    with torch.no_grad():
        logits, _ = explain_model(served)(images)
        # A batch of four views sums in another order than one of one.
        torch.testing.assert_close(logits, served(images)[0], atol=1e-4, rtol=1e-3)
        features = model.feature_map(pixels)
        found = heatmaps(features, head_jacobian(model.head, features.mean(dim=(2, 3))))
    wanted = autograd_heatmaps(model, pixels)
    assert wanted.max() > 1e-4
    torch.testing.assert_close(found, wanted, atol=1e-5 * wanted.max().item(), rtol=1e-4)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.SiLU(), nn.Hardswish()])
def test_slope_equals_autograd(activation):
    inputs = torch.linspace(-5, 5, 41, dtype=torch.float64) + 0.013
    inputs.requires_grad_()
    (wanted,) = torch.autograd.grad(activation(inputs).sum(), inputs)
    torch.testing.assert_close(activation_slope(activation, inputs.detach()), wanted)


def test_unknown_heads_and_activations_are_refused():
    with pytest.raises(TypeError, match="Tanh"):
        head_jacobian(nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)), torch.zeros(1, 4))
    with pytest.raises(TypeError, match="no closed form"):
        head_jacobian(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), torch.zeros(1, 4))


def all_positive(arch: str, stem: str = "imagenet") -> Backbone:
    """A backbone whose output rises with every pixel that it sees, so that gradients show where it looks."""
    backbone = Backbone(arch, stem).eval()
    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.weight, 1.0 / layer.weight[0].numel())
    return backbone


@pytest.mark.parametrize(
    ("arch", "stem"),
    [
        ("resnet18", "imagenet"),
        ("resnet18", "cifar"),
        ("mobilenet_v3_small", "imagenet"),
        ("efficientnet_b0", "imagenet"),
    ],
)
def test_a_unit_of_the_feature_map_looks_at_the_pixel_where_the_explanation_puts_it(arch, stem):
    side_px = 512 if stem == "imagenet" else 128
    images = torch.ones(1, 3, side_px, side_px, requires_grad=True)
    features = all_positive(arch, stem)(images)
    unit, stride = features.shape[-1] // 2, side_px // features.shape[-1]
    (gradient,) = torch.autograd.grad(features[0, :, unit, unit].sum(), images)
    seen = gradient[0].sum(dim=(0, 1)).clamp(min=0)
    # Of the equal pixels of this picture, a max pool takes the first: that alone moves resnet18's place by 2 px.
    assert float((seen * torch.arange(side_px)).sum() / seen.sum()) == pytest.approx(unit * stride, abs=2.0)


class Brightness(nn.Module):
    """Channel 0: the brightest of each 8 px patch around pixels 0, 8, 16, ...; stands for a backbone of stride 8."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.max_pool2d(images[:, :1], 9, stride=8, padding=4)


def light_finder() -> ServedModel:
    network = nn.Module()
    network.backbone, network.head, network.pooled_channels = Brightness(), nn.Linear(1, 1, bias=False), 1
    nn.init.ones_(network.head.weight)
    return ServedModel(network, ("logits", "embedding"), (0.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize("place", [(8, 40), (44, 20), (20, 4), (60, 60)])
def test_the_heat_is_where_the_light_is(place):
    images = torch.zeros((2, 64, 64, 3), dtype=torch.uint8)
    images[:, place[0], place[1]] = 255
    _, heat = explain_model(light_finder())(images)
    assert heat.shape == (2, 1, 16, 16)
    row, column = divmod(int(heat[1, 0].argmax()), 16)
    assert abs(4 * row + 1.5 - place[0]) <= 4 and abs(4 * column + 1.5 - place[1]) <= 4


def test_the_exported_graph_stitches_as_torch_does_for_any_batch(tmp_path):
    module = explain_model(light_finder())
    export_onnx(module, 64, OUTPUTS, tmp_path / "explain.onnx")
    images = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        _, heat = module(images)
    found = onnx_run(tmp_path / "explain.onnx")(images.numpy())
    torch.testing.assert_close(torch.from_numpy(found["heatmaps"]), heat)
