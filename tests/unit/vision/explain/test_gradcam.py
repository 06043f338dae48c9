"""The closed form of Grad-CAM against autograd's."""

import pytest
import torch
from torch import nn

from vision.explain.gradcam import activation_slope, head_jacobian
from vision.export.explain import explain_model
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
    with torch.no_grad():
        logits, found = explain_model(served)(images)
        torch.testing.assert_close(logits, served(images)[0])
    wanted = autograd_heatmaps(model, served.normalise(images))
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
