import pytest
import torch
import torchvision
from torch import nn

from vision.kinds import answering
from vision.kinds.classify_learning import ClassifyLearning
from vision.models.config import CLASSIFIERS, ModelConfig
from vision.models.factory import ARCHITECTURES, build_head
from vision.models.freezing import freeze_except, set_training_mode
from vision.models.network import IMAGENET_MEAN, IMAGENET_STD, ServedModel, load_model, save_model

ARCHS = sorted(CLASSIFIERS)
EXPECTED_FIRST_WEIGHT = -0.02266
LABELS = ("a", "b", "c")


def network_of(arch="resnet18", seed=0, **settings):
    return ClassifyLearning().network(ModelConfig(arch=arch, **settings), LABELS, seed)


def served(network):
    return ServedModel(network, answering("classify").outputs, IMAGENET_MEAN, IMAGENET_STD).eval()


@pytest.mark.parametrize("arch", ARCHS)
def test_backbone_computes_what_torchvisions_model_computes_before_its_classifier(arch):
    torch.manual_seed(0)
    model = torchvision.models.get_model(arch, weights=None).eval()
    network = network_of(arch).eval()
    names = {name for name in model.state_dict() if not name.startswith(("fc.", "classifier."))}
    assert set(network.backbone.state_dict()) == names
    network.backbone.load_state_dict({name: model.state_dict()[name] for name in names})
    captured = {}
    model.avgpool.register_forward_hook(lambda module, inputs, output: captured.update(pooled=output.flatten(1)))
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        model(images)
        found = network(images)
    assert torch.allclose(found["pooled"], captured["pooled"], atol=1e-5)
    assert torch.allclose(found["logits"], network.head(found["pooled"]))
    assert network.feature_map(images).mean(dim=(2, 3)).shape == found["pooled"].shape


@pytest.mark.parametrize("arch", ARCHS)
def test_mlp_head_uses_the_backbones_activation(arch):
    head = build_head(arch, classes=3, kind="mlp", hidden=16, dropout=0.3)
    kinds = [type(layer) for layer in head]
    assert kinds == [nn.Dropout, nn.Linear, ARCHITECTURES[arch].activation, nn.Dropout, nn.Linear]
    assert head(torch.zeros(2, ARCHITECTURES[arch].channels)).shape == (2, 3)


def test_cifar_stem_keeps_the_resolution_of_small_images():
    images = torch.rand(1, 3, 32, 32)
    assert network_of(stem="cifar").eval().feature_map(images).shape == (1, 512, 4, 4)
    assert network_of().eval().feature_map(images).shape == (1, 512, 1, 1)


def test_same_seed_gives_the_same_network_and_leaves_the_callers_random_state_alone():
    before = torch.get_rng_state()
    first, again, other = network_of(seed=1), network_of(seed=1), network_of(seed=2)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first.backbone.conv1.weight, again.backbone.conv1.weight)
    assert not torch.equal(first.backbone.conv1.weight, other.backbone.conv1.weight)


@pytest.mark.parametrize("arch", ARCHS)
def test_more_trains_with_each_part_and_frozen_batch_norm_stays_in_eval_mode(arch):
    network = network_of(arch)
    trained = []
    for part in ("head", "top", "all"):
        freeze_except(network, part)
        set_training_mode(network, part)
        trained.append({name for name, value in network.named_parameters() if value.requires_grad})
        for name, module in network.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.training == module.weight.requires_grad, name
    assert trained[0] == {name for name, _ in network.head.named_parameters(prefix="head")}
    assert trained[0] < trained[1] < trained[2] == {name for name, _ in network.named_parameters()}


def test_served_model_normalises_and_answers_in_the_order_of_outputs():
    model = served(network_of())
    images = torch.randint(0, 256, (2, 48, 48, 3), dtype=torch.uint8)
    with torch.no_grad():
        logits, embedding = model(images)
        pixels = (images.permute(0, 3, 1, 2) / 255 - torch.tensor(IMAGENET_MEAN).reshape(3, 1, 1)) / torch.tensor(
            IMAGENET_STD
        ).reshape(3, 1, 1)
        direct = model.network(pixels)
    assert torch.allclose(logits, direct["logits"], atol=1e-5)
    assert torch.allclose(embedding, direct["pooled"] @ model.projection, atol=1e-5)
    assert embedding.shape == (2, 32)


def test_embedding_projection_is_the_same_for_every_package_and_keeps_distances():
    first, second = served(network_of(seed=1)), served(network_of(seed=2))
    assert torch.equal(first.projection, second.projection)
    assert round(float(first.projection[0, 0]), 5) == EXPECTED_FIRST_WEIGHT
    points = torch.randn(50, 512, generator=torch.Generator().manual_seed(0))
    ratio = torch.pdist(points @ first.projection) / torch.pdist(points)
    assert 0.9 < ratio.mean() < 1.1


def test_saved_model_comes_back_with_its_normalisation(tmp_path):
    model = ServedModel(network_of(), ("logits", "embedding"), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)).eval()
    model.network.to(memory_format=torch.channels_last)
    save_model(model, tmp_path / "model.safetensors")
    again = load_model(served(network_of(seed=9)), tmp_path / "model.safetensors")
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.allclose(model(images)[0], again(images)[0], atol=1e-4)
    assert torch.equal(model.normalise.mean, again.normalise.mean)


@pytest.mark.parametrize("arch", ARCHS)
def test_running_statistics_follow_a_short_training(arch):
    """MobileNetV3's own momentum of 0.01 left them behind: every answer was the same class after 20 epochs."""
    layers = [layer for layer in network_of(arch).modules() if isinstance(layer, nn.BatchNorm2d)]
    assert layers and {layer.momentum for layer in layers} == {0.1}
