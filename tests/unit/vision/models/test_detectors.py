import pytest
import torch
from torch import nn
from torchvision.ops import box_iou

from vision.export.onnx import export_onnx
from vision.export.runtime import onnx_run
from vision.kinds import answering
from vision.models.config import DETECTORS, ModelConfig
from vision.models.detectors import CANDIDATES, build_detector, centred
from vision.models.factory import NORM_MOMENTUM
from vision.models.network import IMAGENET_MEAN, IMAGENET_STD, ServedModel
from vision.training.box_loss import detection_loss
from vision.training.simclr import SimClr

SIDE_PX = 64
CLASSES = 3


@pytest.fixture(scope="module", params=[(arch, stride) for arch in DETECTORS for stride in (16, 8)], ids=str)
def detector(request):
    arch, stride = request.param
    torch.manual_seed(0)
    return build_detector(ModelConfig(arch=arch, anchor_scales=(0.1, 0.8), finest_stride=stride), CLASSES, SIDE_PX)


@pytest.fixture(scope="module")
def outputs(detector):
    with torch.no_grad():
        return detector.eval()(torch.randn(2, 3, SIDE_PX, SIDE_PX))


def test_a_detector_gives_candidates_inside_the_image_and_the_raw_numbers_that_the_loss_takes(detector, outputs):
    anchors = len(detector.anchors)
    kept = min(CANDIDATES, anchors)
    assert outputs["boxes"].shape == (2, kept, 4) and outputs["scores"].shape == (2, kept, CLASSES)
    assert outputs["regression"].shape == (2, anchors, 4)
    assert outputs["logits"].shape == (2, anchors, CLASSES + 1)
    assert outputs["pooled"].shape == (2, detector.pooled_channels)
    assert outputs["boxes"].min() >= 0 and outputs["boxes"].max() <= 1
    best = outputs["scores"].amax(dim=-1)
    assert (best[:, :-1] >= best[:, 1:]).all()


@pytest.mark.parametrize("arch", DETECTORS)
def test_the_graph_that_is_served_says_what_the_network_says(arch, tmp_path):
    torch.manual_seed(0)
    network = build_detector(ModelConfig(arch=arch, anchor_scales=(0.1, 0.8), finest_stride=8), CLASSES, SIDE_PX)
    model = ServedModel(network, answering("detect").outputs, IMAGENET_MEAN, IMAGENET_STD).eval()
    export_onnx(model, SIDE_PX, model.outputs, tmp_path / "model.onnx")
    images = torch.randint(0, 256, (3, SIDE_PX, SIDE_PX, 3), dtype=torch.uint8)
    graph = onnx_run(tmp_path / "model.onnx")(images.numpy())
    with torch.no_grad():
        torchs = {name: value.numpy() for name, value in zip(model.outputs, model(images), strict=True)}
    assert graph["embedding"] == pytest.approx(torchs["embedding"], abs=1e-3)
    assert graph["scores"].max(axis=-1) == pytest.approx(torchs["scores"].max(axis=-1), abs=1e-4)
    # Untrained, all are of nearly one score: their order, and who is the last of them, is chance.
    away = torch.cdist(torch.from_numpy(graph["boxes"]), torch.from_numpy(torchs["boxes"])).amin(dim=-1)
    assert (away < 1e-3).float().mean() > 0.95


def test_an_anchor_that_is_not_moved_is_its_own_box(detector):
    anchors = detector.anchors
    logits = torch.zeros(1, len(anchors), CLASSES + 1)
    logits[0, 5, -1] = 9.0
    boxes, scores = detector.decode(torch.zeros(1, len(anchors), 4), logits)
    assert boxes[0, 0].tolist() == pytest.approx(anchors[5].clamp(0, 1).tolist(), abs=1e-6)
    assert scores[0, 0].argmax() == CLASSES - 1


def test_anchors_are_of_the_sizes_asked_for_and_lie_over_the_whole_image(detector):
    centre, side = centred(detector.anchors)
    assert 0.03 < side.prod(dim=1).sqrt().min() <= 0.12 and 0.6 < side.prod(dim=1).sqrt().max() <= 1.0
    assert centre.min() < 0.2 and centre.max() > 0.8


@pytest.mark.parametrize("arch", DETECTORS)
def test_a_finer_map_has_four_times_the_places_with_small_anchors(arch):
    plain, fine = (
        build_detector(ModelConfig(arch=arch, anchor_scales=(0.06, 0.6), finest_stride=stride), 2, 128)
        for stride in (16, 8)
    )
    small = [int((centred(each.anchors)[1].prod(dim=1).sqrt() < 0.1).sum()) for each in (plain, fine)]
    assert small[1] >= 4 * small[0]


@pytest.mark.parametrize("arch", DETECTORS)
def test_anchors_are_as_thin_as_asked_for_and_lie_as_well_as_stand(arch):
    built = build_detector(ModelConfig(arch=arch, anchor_scales=(0.1, 0.5), anchor_aspects=(2, 6)), 2, 128)
    side = centred(built.anchors)[1]
    aspects = side[:, 0] / side[:, 1]
    for wanted in (1 / 6, 1 / 2, 1, 2, 6):
        assert (aspects / wanted - 1).abs().min() < 0.02
    assert aspects.min() > 1 / 8 and aspects.max() < 8


def test_the_backbone_is_the_one_that_pre_training_makes(detector):
    config = ModelConfig(arch=detector.backbone.arch)
    pretrained = SimClr(0.5, None, 16).network(config, (), seed=1)
    assert pretrained(torch.randn(2, 3, SIDE_PX, SIDE_PX))["projected"].shape == (2, 16)
    detector.backbone.load_state_dict(pretrained.backbone.state_dict())


def test_statistics_of_batch_normalisation_follow_a_short_training(detector):
    layers = [layer for layer in detector.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert layers and {layer.momentum for layer in layers} == {NORM_MOMENTUM}


def target(*boxes):
    return {"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": torch.zeros(len(boxes), dtype=torch.int64)}


def test_every_parameter_learns_from_a_box_and_an_image_without_one_teaches_what_is_none(detector):
    detector.train()
    images, box = torch.randn(2, 3, SIDE_PX, SIDE_PX), [0.2, 0.2, 0.6, 0.7]
    detection_loss(detector(images), [target(box), target()], 0.0).backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in detector.parameters())
    detector.zero_grad()
    detection_loss(detector(images), [target(), target()], 0.0).backward()
    assert any(value.grad is not None and value.grad.abs().sum() > 0 for value in detector.head.parameters())


def test_the_loss_is_small_where_the_network_says_what_is_there(detector, outputs):
    inside = ((detector.anchors > 0) & (detector.anchors < 1)).all(dim=1)
    box = detector.anchors[inside][0].tolist()
    logits = torch.full_like(outputs["logits"][:1], -9.0)
    logits[..., 0] = 9.0
    known = {**outputs, "regression": torch.zeros_like(outputs["regression"][:1]), "logits": logits}
    wrong = detection_loss(known, [target(box)], 0.0)
    near = box_iou(torch.tensor([box]), detector.anchors)[0] >= 0.5
    logits[0, near] = -9.0
    logits[0, near, 1] = 9.0
    assert detection_loss({**known, "logits": logits}, [target(box)], 0.0) < wrong / 2
