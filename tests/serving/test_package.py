"""Assembling, opening and proving the tiny package."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from bentos.engine import ready_engine
from bentos.releasing.source import open_served
from vision.errors import MachineError, UserError
from vision.export.assemble import assemble_package
from vision.export.explain import explain_model
from vision.export.golden import check_golden, golden_files
from vision.export.onnx import export_onnx
from vision.export.parity import check_parity
from vision.export.runtime import onnx_run
from vision.kinds import answering
from vision.package import open_package
from vision.release import ReleasedModel, first_release, write_release

PROJECT = Path(__file__).resolve().parents[2]


def test_assembling_twice_gives_one_package(made):
    assert assemble_package(made.packages, made.parts) == made.package.package_sha
    assert [folder.name for folder in made.packages.iterdir()] == [made.package.package_sha]


def test_a_damaged_package_is_replaced_by_assembling_again(made, tmp_path):
    package_sha = assemble_package(tmp_path, made.parts)
    (tmp_path / package_sha / "model.onnx").write_bytes(b"broken")
    assert assemble_package(tmp_path, made.parts) == package_sha
    assert (tmp_path / package_sha / "model.onnx").stat().st_size > 100


def test_other_metrics_give_another_package(made, tmp_path):
    assert assemble_package(tmp_path, replace(made.parts, metrics={"accuracy": 0.5})) != made.package.package_sha


def test_a_file_that_packages_do_not_have_is_refused(made, tmp_path):
    with pytest.raises(ValueError, match=r"model\.pkl"):
        assemble_package(tmp_path, replace(made.parts, files={**made.parts.files, "model.pkl": tmp_path}))


def test_export_of_equal_weights_gives_equal_bytes_without_paths_of_this_machine(made, tmp_path):
    export_onnx(made.model, made.package.spec.input.side_px, made.package.spec.outputs, tmp_path / "again.onnx")
    again = (tmp_path / "again.onnx").read_bytes()
    assert again == (made.package.folder / "model.onnx").read_bytes()
    assert b"site-packages" not in again
    assert str(PROJECT).encode() not in again


def test_exported_graph_has_the_agreed_names_and_any_batch(made):
    session = onnxruntime.InferenceSession(str(made.package.folder / "model.onnx"))
    assert [value.name for value in session.get_inputs()] == ["images"]
    assert [value.name for value in session.get_outputs()] == ["logits", "embedding"]
    run = onnx_run(made.package.folder / "model.onnx")
    for batch in (1, 3, 8):
        assert run(np.zeros((batch, 32, 32, 3), np.uint8))["embedding"].shape == (batch, 32)


def test_explain_graph_gives_a_heatmap_a_class(made):
    found = onnx_run(made.package.folder / "explain.onnx")(np.full((2, 32, 32, 3), 90, np.uint8))
    assert found["heatmaps"].shape == (2, 3, 16, 16)
    assert found["heatmaps"].min() >= 0
    assert found["heatmaps"].max() > 0


def test_explain_graph_says_what_the_trained_network_says(made):
    images = np.load(made.package.folder / "golden" / "inputs.npy")
    found = onnx_run(made.package.folder / "explain.onnx")(images)
    with torch.no_grad():
        logits, heat = explain_model(made.model)(torch.from_numpy(images))
    assert np.allclose(found["logits"], logits.numpy(), atol=1e-4)
    assert np.allclose(found["heatmaps"], heat.numpy(), atol=1e-5) and heat.max() > 1e-3


def test_parity_passes_for_the_export_and_fails_for_another_network(made):
    images = np.load(made.package.folder / "golden" / "inputs.npy")
    exported, kind = onnx_run(made.package.folder / "model.onnx"), answering("classify")
    passed = check_parity(exported, exported, images, kind)
    assert passed.passed and not passed.warnings

    def shifted(batch):
        found = exported(batch)
        return {**found, "logits": found["logits"][:, ::-1]}

    assert not check_parity(exported, shifted, images, kind).passed


def test_parity_of_a_network_that_tells_nothing_apart_warns(made):
    images = np.load(made.package.folder / "golden" / "inputs.npy")

    def constant(batch):
        return {"logits": np.ones((len(batch), 3), np.float32), "embedding": np.zeros((len(batch), 32), np.float32)}

    assert "proves nothing" in check_parity(constant, constant, images, answering("classify")).warnings[0]


def test_golden_images_fail_when_outputs_or_pixels_move(made, tmp_path):
    run, spec, folder = onnx_run(made.package.folder / "model.onnx"), made.package.spec, made.package.folder
    assert check_golden(folder, spec, run).passed
    moved = check_golden(folder, spec, lambda images: {k: v + 0.1 for k, v in run(images).items()})
    assert not moved.passed
    squashed = spec.model_copy(update={"input": spec.input.model_copy(update={"crop": "squash"})})
    verdict = check_golden(folder, squashed, run)
    assert not verdict.passed
    assert "preprocessing differs" in verdict.reasons[0]
    assert [path.suffix for path in golden_files(folder)] == [".jpeg", ".png"] * 3


def test_engine_that_does_not_answer_as_the_package_says_is_refused(made, tmp_path):
    parts = replace(made.parts, spec=made.parts.spec.model_copy(update={"input": made.parts.spec.input.model_copy(
        update={"resize_px": 32})}))  # fmt: skip
    other = open_package(tmp_path / assemble_package(tmp_path, parts))
    with pytest.raises(UserError, match="fails its golden images"):
        ready_engine(other)


def test_release_that_names_another_package_is_refused(state):
    source = state / "systems" / "quickstart" / "release.json"
    release = source.read_text()
    wrong = source.with_name("wrong.json")
    sha = open_served(source).package.package_sha
    wrong.write_text(release.replace(f'"package_sha": "{sha}"', f'"package_sha": "{"0" * 64}"'))
    with pytest.raises(MachineError, match="its hash is"):
        open_served(wrong)


def test_importing_the_service_loads_no_training_library():
    heavy = ("torch", "mlflow", "prefect", "ray", "great_expectations", "evidently", "sklearn", "matplotlib", "dvc")
    code = f"import sys, bentos.service; print(sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_lock_of_the_server_names_no_training_library_and_no_host():
    lock = (PROJECT / "requirements.serve.lock").read_text()
    names = {line.split("==")[0] for line in lock.splitlines() if "==" in line}
    assert {"bentoml", "onnxruntime", "pillow", "python-multipart", "uuid6"} <= names
    assert not names & {"torch", "torchvision", "mlflow", "prefect", "ray", "dvc", "evidently", "great-expectations"}
    assert "://" not in lock


def test_server_and_training_run_the_same_versions():
    def versions(name: str) -> dict[str, str]:
        lines = (PROJECT / name).read_text().splitlines()
        return dict(line.split(" ")[0].split("==") for line in lines if "==" in line.split(" ")[0])

    training = versions("requirements.lock")
    assert {name: training[name] for name in versions("requirements.serve.lock")} == versions("requirements.serve.lock")


def test_setting_that_the_service_does_not_know_names_file_and_key(made, tmp_path):
    config = {**made.parts.config, "serving": {"threds": 2}}
    package_sha = assemble_package(tmp_path / "packages", replace(made.parts, config=config))
    champion = ReleasedModel(version=1, package_sha=package_sha, uri=f"packages/{package_sha}")
    write_release(tmp_path / "release.json", first_release(champion, "first_model"))
    with pytest.raises(UserError, match=r"config\.yaml: serving\.threds"):
        open_served(tmp_path / "release.json")


def test_package_whose_training_settings_are_unknown_today_is_still_served(made, tmp_path):
    config = {**made.parts.config, "training": {"setting_of_last_year": 1}}
    package_sha = assemble_package(tmp_path / "packages", replace(made.parts, config=config))
    champion = ReleasedModel(version=1, package_sha=package_sha, uri=f"packages/{package_sha}")
    write_release(tmp_path / "release.json", first_release(champion, "first_model"))
    assert open_served(tmp_path / "release.json").system == "quickstart"


def test_what_was_measured_on_this_device_goes_before_the_package_and_after_the_environment(
    state, tmp_path, monkeypatch
):
    from bentos.releasing.source import find_serving
    from bentos.resources import cores
    from configs.profile import ServingProfile, device_name, write_profile
    from vision.release import read_release

    own = tmp_path / "state"
    shutil.copytree(state, own)
    monkeypatch.setenv("VISIONOPS_STATE", str(own))
    release = read_release(own / "systems" / "quickstart" / "release.json")
    sizes = {"workers": 3, "threads": 1, "max_batch": 5, "max_queue": 77}
    write_profile(own, ServingProfile(device=device_name(cores()), package_sha=release.champion.package_sha, **sizes))
    monkeypatch.setenv("VISIONOPS__SERVING__MAX_BATCH", "6")
    found = find_serving()
    assert (found.workers, found.max_batch, found.max_queue, found.top_k) == (3, 6, 77, 3)


def test_what_was_measured_with_another_engine_is_not_for_this_one(state, tmp_path, monkeypatch):
    """The same processor beside a GPU, say: torch has no INT8, and one worker."""
    from bentos.releasing.source import find_serving
    from bentos.resources import cores
    from configs.profile import ServingProfile, device_name, write_profile
    from vision.release import read_release

    own = tmp_path / "state"
    shutil.copytree(state, own)
    monkeypatch.setenv("VISIONOPS_STATE", str(own))
    sha = read_release(own / "systems" / "quickstart" / "release.json").champion.package_sha
    sizes = {"workers": 3, "threads": 1, "max_batch": 5, "max_queue": 77}
    write_profile(
        own, ServingProfile(device=device_name(cores()), package_sha=sha, engine="openvino", int8=True, **sizes)
    )
    for engine, precision, queue in (("openvino", "int8", 77), ("torch", "auto", 40)):
        monkeypatch.setenv("VISIONOPS__SERVING__ENGINE", engine)
        found = find_serving()
        assert (found.engine, found.precision, found.max_queue) == (engine, precision, queue)
