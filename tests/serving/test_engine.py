"""Engines without a server: each is held to the golden images, in the precision that it really computes in."""

import os
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from bentos.engine import make_engine, ready_engine, warm_up
from bentos.engines.openvino import OpenVinoEngine
from bentos.engines.torch import TorchEngine, graph_sizes
from bentos.resources import best_engine, cores, thread_count, worker_count
from configs.serving import ServingConfig
from vision.errors import UserError
from vision.export.assemble import assemble_package
from vision.export.golden import TOLERANCES, check_golden, golden_files, golden_outputs
from vision.package import INT8_MODEL, Int8, open_package
from vision.scoring.scorer import Scorer

BATCHES = (1, 2, 3, 5, 8, 11)


@pytest.fixture(scope="module")
def real(made, tmp_path_factory):
    """A package whose network is of a known architecture, for the engine that builds it from its weights."""
    from vision.export.golden import write_golden
    from vision.export.runtime import torch_run
    from vision.kinds import answering, learning
    from vision.models.config import ModelConfig
    from vision.models.network import IMAGENET_MEAN, IMAGENET_STD, ServedModel, save_model

    folder = tmp_path_factory.mktemp("real")
    network = learning("classify").network(ModelConfig(arch="mobilenet_v3_small", weights="random"), ("a", "b", "c"), 1)
    model = ServedModel(network, answering("classify").outputs, IMAGENET_MEAN, IMAGENET_STD).eval()
    save_model(model, folder / "model.safetensors")
    spec = made.parts.spec.model_copy(update={"arch": "mobilenet_v3_small"})
    write_golden(folder, [path.read_bytes() for path in golden_files(made.package.folder)], spec, torch_run(model))
    config = {**made.parts.config, "model": {"arch": "mobilenet_v3_small", "weights": "random"}}
    files = {**made.parts.files, "model.safetensors": folder / "model.safetensors"}
    parts = replace(made.parts, spec=spec, config=config, files=files, golden=folder / "golden")
    return open_package(folder / "packages" / assemble_package(folder / "packages", parts))


@pytest.fixture
def package_for(made, real):
    return lambda engine: real if engine == "torch" else made.package


def bf16_here(package) -> bool:
    return OpenVinoEngine(package, "auto", 1).precision == "bfloat16"


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("openvino", "auto"),
        ("openvino", "float32"),
        ("onnxruntime", "auto"),
        ("torch", "float32"),
        ("torch", "bfloat16"),
    ],
)
def test_every_engine_answers_the_golden_images_as_the_package_says(made, package_for, name, precision):
    package = package_for(name)
    engine = ready_engine(package, ServingConfig(engine=name, precision=precision, max_batch=3, threads=1))
    assert engine.name == name
    assert engine.precision in (precision, "float32", "bfloat16")
    images = np.load(package.folder / "golden" / "inputs.npy")
    outputs = engine.predict(images)
    assert list(outputs) == list(package.spec.outputs)
    assert all(values.dtype == np.float32 and len(values) == len(images) for values in outputs.values())
    if package is made.package:  # the other one is untrained: its logits are too close for a largest one
        assert (outputs["logits"].argmax(1) == golden_outputs(package.folder)["logits"].argmax(1)).all()


@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "torch"])
def test_an_image_gets_the_same_answer_in_every_batch_and_from_several_threads(package_for, name):
    engine = make_engine(package_for(name), ServingConfig(engine=name, precision="float32", threads=1))
    images = np.random.default_rng(1).integers(0, 256, (max(BATCHES), 32, 32, 3), np.uint8)
    alone = np.concatenate([engine.predict(image[None])["logits"] for image in images])
    found: dict[int, np.ndarray] = {}

    def ask(size: int) -> None:
        for _ in range(5):
            found[size] = engine.predict(images[:size])["logits"]

    threads = [threading.Thread(target=ask, args=(size,)) for size in BATCHES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for size in BATCHES:
        np.testing.assert_allclose(found[size], alone[:size], rtol=1e-4, atol=1e-4)


def test_what_an_engine_has_given_stays_when_it_runs_again(package_for):
    """Records keep rows of a batch while the next one runs in the same memory."""
    for name in ("openvino", "onnxruntime", "torch"):
        engine = make_engine(package_for(name), ServingConfig(engine=name, threads=1))
        first = engine.predict(np.full((2, 32, 32, 3), 40, np.uint8))["logits"]
        kept = first.copy()
        engine.predict(np.full((2, 32, 32, 3), 200, np.uint8))
        np.testing.assert_array_equal(first, kept)


def test_warm_up_meets_every_batch_size_that_the_batcher_can_form(made):
    class Spy:
        package, sizes = made.package, []

        def predict(self, images):
            self.sizes.append(len(images))

    warm_up(Spy(), 5)
    assert Spy.sizes == [5, 4, 3, 2, 1]


def test_int8_needs_a_package_that_passed_its_gate(made):
    with pytest.raises(UserError, match="has not passed the gate"):
        ready_engine(made.package, ServingConfig(engine="openvino", precision="int8"))


def test_int8_is_served_where_the_package_says_that_it_passed(made, tmp_path):
    """The file of the tiny network stands in for a quantised one: what is tested is which file an engine takes."""
    parts = replace(
        made.parts,
        spec=made.parts.spec.model_copy(update={"int8": Int8(passed=True, drop=0.0)}),
        files={**made.parts.files, INT8_MODEL: made.parts.files["model.onnx"]},
    )
    package = open_package(tmp_path / assemble_package(tmp_path, parts))
    for name in ("openvino", "onnxruntime"):
        engine = ready_engine(package, ServingConfig(engine=name, precision="int8", max_batch=1))
        assert (engine.name, engine.precision) == (name, "int8")
    with pytest.raises(UserError, match="int8 with the torch engine"):
        ready_engine(package, ServingConfig(engine="torch", precision="int8"))


def test_a_package_that_lost_its_parity_in_bfloat16_is_served_in_float32(made, tmp_path):
    spec = made.parts.spec.model_copy(update={"bfloat16": False})
    package = open_package(tmp_path / assemble_package(tmp_path, replace(made.parts, spec=spec)))
    assert ready_engine(package, ServingConfig(engine="openvino", max_batch=1)).precision == "float32"
    assert Scorer(package, lambda name: b"").engine[1] == "float32"
    with pytest.raises(UserError, match=r"bfloat16, but package .* otherwise than the trained network"):
        ready_engine(package, ServingConfig(engine="openvino", precision="bfloat16"))


def test_a_precision_that_an_engine_does_not_have_is_refused(made):
    with pytest.raises(UserError, match="bfloat16 with the onnxruntime engine"):
        ready_engine(made.package, ServingConfig(engine="onnxruntime", precision="bfloat16"))


def test_bfloat16_is_held_to_its_own_tolerance(made):
    if not bf16_here(made.package):
        pytest.skip("this processor has no bfloat16")
    engine = OpenVinoEngine(made.package, "bfloat16", 1)
    assert check_golden(made.package.folder, made.package.spec, engine.predict, TOLERANCES["bfloat16"]).passed
    assert not check_golden(
        made.package.folder,
        made.package.spec,
        lambda images: {name: values + 1 for name, values in engine.predict(images).items()},
        TOLERANCES["bfloat16"],
    ).passed


def test_workers_and_threads_share_the_cores():
    assert worker_count(ServingConfig(engine="openvino")) == cores()
    assert thread_count(ServingConfig(engine="openvino")) == 1
    assert worker_count(ServingConfig(engine="torch")) == 1
    assert thread_count(ServingConfig(engine="openvino", workers=1)) == cores()
    assert thread_count(ServingConfig(workers=1, threads=3)) == 3


def test_a_machine_without_a_gpu_serves_with_openvino():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert best_engine() == "openvino"


def test_graphs_are_captured_for_powers_of_two_and_the_largest_batch():
    assert graph_sizes(1) == (1,)
    assert graph_sizes(8) == (1, 2, 4, 8)
    assert graph_sizes(12) == (1, 2, 4, 8, 12)


def test_torch_engine_says_when_there_is_no_gpu(made):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match="no GPU"):
        TorchEngine(made.package, device="cuda")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores can't be asked for here")
@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_no_thread_is_pinned_to_some_of_the_cores_while_openvino_computes(made, precision):
    """Workers that pin their threads all take the same core, and the machine computes on that one alone."""
    engine, ends = make_engine(made.package, ServingConfig(engine="openvino", precision=precision, threads=1)), []
    images = np.zeros((64, 32, 32, 3), np.uint8)

    def predict() -> None:
        while not ends:
            engine.predict(images)

    thread = threading.Thread(target=predict)
    thread.start()
    seen, stop_s = set(), time.monotonic() + 0.5
    while time.monotonic() < stop_s:
        seen.add(frozenset(os.sched_getaffinity(thread.native_id)))
        time.sleep(0.0005)
    ends.append(True)
    thread.join()
    assert seen == {frozenset(os.sched_getaffinity(0))}
