"""`make export`: files for elsewhere, each proved; what does not agree is not handed over."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tasks.packaging.export_package import export_package
from vision.errors import MachineError, UserError
from vision.export.assemble import assemble_package
from vision.export.config import ExportConfig
from vision.export.handover import int8_refusal, prove
from vision.export.runtime import onnx_run
from vision.export.tflite import tflite_python
from vision.export.tflite_worker import receive, send
from vision.package import INT8_MODEL, Int8, open_package


@pytest.fixture
def run(tmp_path):
    config = SimpleNamespace(export=ExportConfig(), system="tiny")
    state = SimpleNamespace(root=tmp_path / "state")
    return SimpleNamespace(config=config, folder=tmp_path / "system", state=state, dataset_folder=tmp_path / "data")


def exported(run, package, *precisions, to=None):
    return export_package.fn(run, package, precisions or ("onnx", "int8"), to)


def repackaged(made, folder, files, int8):
    parts = replace(
        made.parts, spec=made.parts.spec.model_copy(update={"int8": int8}), files={**made.parts.files, **files}
    )
    return open_package(folder / assemble_package(folder, parts))


def test_the_folder_holds_what_someone_elsewhere_needs_and_the_table_says_how_well_it_agrees(run, made):
    done = exported(run, made.package)
    folder = Path(done["folder"])
    assert {path.name for path in folder.iterdir()} == {
        "model.onnx", "model.safetensors", "spec.json", "labels.txt", "golden", "README.md", "export.json",
    }  # fmt: skip
    assert (folder / "labels.txt").read_text().split() == list(made.package.spec.labels)
    rows = json.loads((folder / "export.json").read_text())["files"]
    assert [(row["runtime"], row["passed"]) for row in rows] == [("ONNX Runtime", True), ("OpenVINO", True)]
    assert all(row["difference"] < 1e-3 and row["latency_ms"] > 0 for row in rows)
    assert "int8: left out, none was made: export.int8 was off" in done["text"]


def test_the_code_in_the_readme_gives_the_answer_of_the_package(run, made, tmp_path, monkeypatch, capsys):
    folder = Path(exported(run, made.package, "onnx")["folder"])
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    photograph = folder / "golden" / "0.jpeg"
    monkeypatch.chdir(folder)
    exec(code.replace("photo.jpg", str(photograph)), {})
    label, probability = capsys.readouterr().out.split()
    outputs = np.load(folder / "golden" / "outputs.npz")["logits"][0]
    assert label == made.package.spec.labels[outputs.argmax()]
    assert float(probability) == pytest.approx(np.exp(outputs.max()) / np.exp(outputs).sum(), abs=0.01)


def test_an_int8_graph_that_passed_its_gate_goes_along(run, made, tmp_path):
    from vision.export.int8 import quantise

    images = np.load(made.package.folder / "golden" / "inputs.npy")
    quantise(made.package.folder / "model.onnx", np.repeat(images, 4, axis=0), tmp_path / INT8_MODEL, ("Conv", "Gemm"))
    package = repackaged(made, tmp_path, {INT8_MODEL: tmp_path / INT8_MODEL}, Int8(passed=True, drop=0.0))
    done = exported(run, package)
    assert (Path(done["folder"]) / INT8_MODEL).is_file() and done["left_out"] == {}
    assert done["text"].count(INT8_MODEL) == 2


@pytest.mark.parametrize(
    ("int8", "why"),
    [
        (Int8(), "export.int8 was off"),
        (Int8(passed=False, drop=0.05), "lost 0.050 of its recall, 0.01 are allowed"),
        (Int8(passed=False, drop=0.0), "its outputs or their mean are too far off"),
    ],
)
def test_why_int8_is_not_there_is_said(made, int8, why):
    package = made.package.model_copy(update={"spec": made.package.spec.model_copy(update={"int8": int8})})
    assert why in int8_refusal(package, 0.01)


def test_a_graph_that_does_not_answer_as_the_package_is_not_handed_over(run, made, tmp_path):
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(made.package.folder / "model.onnx")
    weights = max(graph.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * 1.05, weights.name))
    onnx.save(graph, tmp_path / "model.onnx")
    package = repackaged(made, tmp_path, {"model.onnx": tmp_path / "model.onnx"}, Int8())
    with pytest.raises(MachineError, match=r"model\.onnx does not answer the golden images in ONNX Runtime"):
        exported(run, package)
    assert not list((run.folder / "exports").iterdir())


def test_a_folder_of_something_else_stays_and_an_earlier_export_is_replaced(run, made, tmp_path):
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.tex").write_text("years of work")
    with pytest.raises(UserError, match="is no export"):
        exported(run, made.package, to=other)
    assert (other / "chapter.tex").read_text() == "years of work"
    exported(run, made.package, to=tmp_path / "again")
    (tmp_path / "again" / "model.onnx").unlink()
    exported(run, made.package, to=tmp_path / "again")
    assert (tmp_path / "again" / "model.onnx").is_file()


def test_the_package_itself_stays_as_it_is(run, made):
    def hashes():
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in made.package.folder.rglob("*.*")}

    before = hashes()
    exported(run, made.package)
    assert hashes() == before


def test_the_same_answers_are_enough_where_outputs_can_not_be_equal(made):
    run = onnx_run(made.package.folder / "model.onnx")
    file = made.package.folder / "model.onnx"

    def rough(images):
        return {name: values * 1.3 for name, values in run(images).items()}

    def turned(images):
        return {name: -values for name, values in run(images).items()}

    assert prove(made.package, file, rough, "x", "y", None).passed
    assert not prove(made.package, file, rough, "x", "y", "float32").passed
    assert not prove(made.package, file, turned, "x", "y", None).passed


def test_tflite_without_the_images_is_refused_before_anything_is_installed(run, made, tmp_path):
    reference = pd.DataFrame({"path": ["images/moss/1.jpg"], "sha256": ["0" * 64], "label": ["moss"]})
    reference.to_parquet(tmp_path / "reference.parquet")
    package = repackaged(made, tmp_path, {"reference.parquet": tmp_path / "reference.parquet"}, Int8())
    with pytest.raises(UserError, match="need the images of the package"):
        exported(run, package, "onnx", "tflite")
    assert not (run.state.root / "environments").exists() and not list((run.folder / "exports").iterdir())


def test_an_environment_that_can_not_be_made_is_told_in_one_message(tmp_path, monkeypatch):
    for name, value in {
        "UV_OFFLINE": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_CACHE_DIR": str(tmp_path / "no"),
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MachineError, match="TFLite's environment could not be made") as error:
        tflite_python(tmp_path / "environments")
    assert "leave tflite out" in str(error.value)


def test_arrays_go_through_a_pipe_whole(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    with (tmp_path / "pipe").open("wb") as stream:
        send(stream, array)
        send(stream, array + 1)
    with (tmp_path / "pipe").open("rb") as stream:
        assert np.array_equal(receive(stream), array) and np.array_equal(receive(stream), array + 1)
        assert receive(stream) is None
