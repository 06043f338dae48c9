import hashlib
import pickle

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from vision.errors import UserError
from vision.kinds.classify_learning import ClassifyLearning
from vision.models import weights
from vision.models.config import ModelConfig
from vision.models.detectors import build_detector
from vision.models.factory import Backbone
from vision.models.network import IMAGENET_MEAN, IMAGENET_STD, ServedModel, save_model
from vision.models.weights import imagenet_file, load_champion, load_start, read_tensors

ARCH = "mobilenet_v3_small"


@pytest.fixture(autouse=True)
def without_network(monkeypatch, tmp_path):
    """torch's cache is empty and its download fails as it does with no network."""

    def refuse(url, *args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)


@pytest.fixture(scope="module")
def torchvision_model():
    torch.manual_seed(3)
    return torchvision.models.get_model(ARCH, weights=None)


def imagenet_config(**settings):
    return ModelConfig(arch=ARCH, weights="imagenet", **settings)


def put_published_file(folder, model, monkeypatch):
    """A file named as torchvision names its weights, with digits of its sha256; torchvision's list knows it."""
    folder.mkdir(exist_ok=True)
    torch.save(model.state_dict(), folder / "unnamed.pth")
    digits = hashlib.sha256((folder / "unnamed.pth").read_bytes()).hexdigest()[:8]
    path = (folder / "unnamed.pth").rename(folder / f"{ARCH}-{digits}.pth")
    entry = type("Entry", (), {"url": f"https://example.invalid/models/{path.name}"})
    listing = type("Listing", (list,), {"DEFAULT": entry})([entry])
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda arch: listing)
    return path


def test_imagenet_weights_come_from_the_given_folder_and_are_reported(tmp_path, torchvision_model, monkeypatch):
    path = put_published_file(tmp_path / "weights", torchvision_model, monkeypatch)
    backbone = Backbone(ARCH)
    report = load_start(backbone, imagenet_config(), tmp_path / "weights")
    assert (report.origin, report.file, report.warning) == ("imagenet", path.name, "")
    assert str(tmp_path) not in report.model_dump_json()
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert torch.equal(backbone.features[0][0].weight, torchvision_model.features[0][0].weight)


def test_a_detector_without_the_last_stage_takes_imagenets_weights_for_the_others(tmp_path, monkeypatch):
    whole = torchvision.models.resnet18(weights=None)
    put_published_file(tmp_path / "weights", whole, monkeypatch)
    config = ModelConfig(arch="ssdlite_resnet18", weights="imagenet")
    detector = build_detector(config, 2, 64)
    report = load_start(detector.backbone, config, tmp_path / "weights")
    assert report.origin == "imagenet" and report.warning == ""
    assert torch.equal(detector.backbone.layer3[1].conv2.weight, whole.layer3[1].conv2.weight)


def test_damaged_imagenet_file_is_refused(tmp_path, torchvision_model, monkeypatch):
    path = put_published_file(tmp_path / "weights", torchvision_model, monkeypatch)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="sha256 begins with"):
        load_start(Backbone(ARCH), imagenet_config(), tmp_path / "weights")


def test_torchvisions_own_names_are_the_ones_looked_for(tmp_path):
    (tmp_path / "resnet18-f37072fd.pth").write_bytes(b"not the weights")
    with pytest.raises(UserError, match="f37072fd"):
        imagenet_file("resnet18", tmp_path)


def test_without_file_or_network_training_starts_random_and_says_so(tmp_path, caplog):
    backbone = Backbone(ARCH)
    before = backbone.features[0][0].weight.clone()
    report = load_start(backbone, imagenet_config(), tmp_path)
    assert report.origin == "random" and report.sha256 is None
    assert "no route to host" in report.warning and "stages_from_scratch" in report.warning
    assert report.warning in caplog.text
    assert torch.equal(before, backbone.features[0][0].weight)


def test_random_by_choice_is_no_reason_to_warn():
    assert load_start(Backbone(ARCH), ModelConfig(arch=ARCH), None).warning == ""


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_file_is_read_whatever_its_format(tmp_path, torchvision_model, suffix):
    path = tmp_path / f"mine{suffix}"
    save = torch.save if suffix == ".pth" else save_file
    save(torchvision_model.state_dict(), path)
    backbone = Backbone(ARCH)
    report = load_start(backbone, ModelConfig(arch=ARCH, weights="file", file=f"mine{suffix}"), tmp_path)
    assert report.origin == "file"
    assert torch.equal(backbone.features[3].block[0][0].weight, torchvision_model.features[3].block[0][0].weight)


def test_a_packages_own_model_is_a_start_for_the_next(tmp_path):
    network = ClassifyLearning().network(ModelConfig(arch=ARCH), ("a", "b"), seed=4)
    save_model(ServedModel(network, ("logits", "embedding"), (0, 0, 0), (1, 1, 1)), tmp_path / "model.safetensors")
    backbone = Backbone(ARCH)
    load_start(backbone, ModelConfig(arch=ARCH, weights="file", file=str(tmp_path / "model.safetensors")), None)
    assert torch.equal(backbone.features[0][0].weight, network.backbone.features[0][0].weight)


def test_file_of_another_architecture_is_refused_with_the_first_tensor_named(tmp_path, torchvision_model):
    torch.save(torchvision_model.state_dict(), tmp_path / "small.pth")
    with pytest.raises(UserError, match=r"does not fit resnet18: .* bn1\.bias"):
        load_start(Backbone("resnet18"), ModelConfig(weights="file", file=str(tmp_path / "small.pth")), None)


def test_pickled_code_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return open, (str(tmp_path / "sprung"), "w")

    (tmp_path / "trap.pth").write_bytes(pickle.dumps({"conv1.weight": Trap()}))
    torch.save({"conv1.weight": Trap()}, tmp_path / "trap2.pth")
    for name in ("trap.pth", "trap2.pth"):
        with pytest.raises(UserError, match="can't be read safely"):
            read_tensors(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["missing.pth", "weights.onnx"])
def test_missing_file_and_unknown_ending_are_refused(tmp_path, name):
    (tmp_path / "weights.onnx").write_bytes(b"x")
    with pytest.raises(UserError):
        load_start(Backbone(ARCH), ModelConfig(arch=ARCH, weights="file", file=str(tmp_path / name)), None)


def test_cifar_stem_takes_imagenets_weights_but_for_the_first_convolution(tmp_path, monkeypatch):
    model = torchvision.models.resnet18(weights=None)
    monkeypatch.setattr(weights, "imagenet_file", lambda arch, root: (tmp_path / "resnet18.pth", ""))
    torch.save(model.state_dict(), tmp_path / "resnet18.pth")
    backbone = Backbone("resnet18", stem="cifar")
    report = load_start(backbone, ModelConfig(weights="imagenet", stem="cifar"), None)
    assert report.origin == "imagenet" and report.warning.endswith("conv1.weight")
    assert torch.equal(backbone.layer1[0].conv1.weight, model.layer1[0].conv1.weight)


@pytest.mark.parametrize("same", [True, False])
def test_a_champion_gives_its_backbone_and_with_the_same_labels_its_head(tmp_path, same):
    kind, config = ClassifyLearning(), ModelConfig(arch=ARCH)
    first, second = (kind.network(config, ("a", "b"), seed) for seed in (1, 2))
    path = tmp_path / ("f" * 64) / "model.safetensors"
    path.parent.mkdir()
    save_model(ServedModel(first, ("logits", "embedding"), IMAGENET_MEAN, IMAGENET_STD), path)
    report = load_champion(second, config, path, same)
    assert (report.origin, report.package_sha) == ("champion", "f" * 64)
    theirs, ours = first.state_dict(), second.state_dict()
    differs = {name.split(".")[0] for name in theirs if not torch.equal(theirs[name], ours[name])}
    assert differs == (set() if same else {"head"}) and bool(report.warning) != same


def test_a_champion_of_another_network_is_refused(tmp_path):
    made = ClassifyLearning().network(ModelConfig(arch="resnet18"), ("a", "b"), 1)
    path = tmp_path / "model.safetensors"
    save_model(ServedModel(made, ("logits", "embedding"), IMAGENET_MEAN, IMAGENET_STD), path)
    with pytest.raises(UserError, match="does not fit"):
        load_champion(
            ClassifyLearning().network(ModelConfig(arch=ARCH), ("a", "b"), 1), ModelConfig(arch=ARCH), path, True
        )
