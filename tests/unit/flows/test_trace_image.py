"""Passport and blast radius over a state folder drawn by hand: one data version, one training, one package, its answers."""

import json
import os

import pytest
import yaml

from flows import trace_image, trace_prediction
from flows.command import AGAINST, DONE, MISTAKE
from tests.traced_state import Drawn, sha
from vision.data.labels.store import LabelRow, write_labels
from vision.package import MANIFEST, sha256_file


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path / "state"))
    return Drawn(tmp_path / "state")


def traced(*argv, capsys):
    assert trace_image.main([*argv, "--system", "tiny"]) == DONE
    return yaml.safe_load(capsys.readouterr().out)


def test_from_an_image_to_the_packages_trained_on_it_and_their_predictions(drawn, tmp_path, capsys):
    made = drawn.answer(b"a")
    drawn.answer(route="canary", model_version=1, release_no=4)
    drawn.answer(package_sha="f" * 64)
    (drawn.system / "labelled").mkdir()
    row = LabelRow(sha256=sha(b"a"), label="leaf", file="images/leaf/a.png", id=made, key_id="k1", at="2026-11-21")
    write_labels(drawn.system / "labelled", [row])
    (tmp_path / "mine.png").write_bytes(b"a")
    for image in (str(tmp_path / "mine.png"), sha(b"a"), "images/leaf/a.png"):
        found = traced("--image", image, capsys=capsys)
        [data] = found["data"]
        assert (data["dvc_md5"], data["commit"], data["images"]) == (drawn.dvc_md5, drawn.commit, {"train": 1})
        assert [one["package_sha"] for one in found["trainings"]] == [drawn.package_sha]
        [served] = found["served"]
        assert (served["predictions"], served["releases"]) == ({"canary": 1, "champion": 1}, [0, 4])
        assert found["seen_in"] == [made] and found["labelled"][0]["key_id"] == "k1"
        assert "1 packages were trained on it and gave 2 predictions" in found["summary"]


@pytest.mark.parametrize("system", ["tiny", "other"])
def test_a_model_that_went_on_from_one_that_learned_an_image_has_learned_it_too(drawn, capsys, system):
    """Whatever its own data: the image may have left them since. Of another system too, which began with this one's backbone."""
    later, package, stages = "u" * 64, "e" * 64, drawn.root / "systems" / system / "stages"
    (stages / "train" / later).mkdir(parents=True)
    values = {
        "stage": "train", "key": later, "at": "2026-11-21T09:00:00+00:00", "inputs": {"cache": "other"},
        "made": {"run_id": "r2", "weights": {"origin": "champion", "package_sha": drawn.package_sha}},
    }  # fmt: skip
    (stages / "train" / later / "stage.json").write_text(json.dumps(values))
    os.utime(stages / "train" / later / "stage.json", (0, 0))  # as a copied folder may have it
    export = {**values, "stage": "export", "key": later, "inputs": {"model": later}, "made": {"package_sha": package}}
    (stages / "export" / later).mkdir(parents=True)
    (stages / "export" / later / "stage.json").write_text(json.dumps(export))
    drawn.answer(package_sha=package)
    (drawn.system / "records").rename(drawn.root / "systems" / system / "records")
    found = traced("--image", sha(b"a"), capsys=capsys)
    assert [(one["system"], one["through"]) for one in found["trainings"]] == [
        ("tiny", None),
        (system, drawn.package_sha),
    ]
    assert "2 packages were trained on it and gave 1 predictions" in found["summary"]
    assert "0 packages were trained on it" in traced("--image", sha(b"b"), capsys=capsys)["summary"]


def test_an_image_that_was_only_tested_on_taints_no_package(drawn, capsys):
    drawn.answer()
    found = traced("--image", sha(b"b"), capsys=capsys)
    assert found["data"][0]["images"] == {"test": 1} and "0 packages were trained on it" in found["summary"]


def test_a_label_counts_its_images_by_split(drawn, capsys):
    assert traced("--label", "moss", capsys=capsys)["data"][0]["images"] == {"left_out": 1, "train": 1}


def test_what_nobody_knows_is_told(drawn, capsys):
    for argv in (["--label", "fern"], ["--image", "0" * 64], ["--image", "images/leaf/none.png"]):
        assert trace_image.main([*argv, "--system", "tiny"]) == MISTAKE
        assert "in no data version of tiny" in capsys.readouterr().err


def check(made, capsys):
    code = trace_prediction.main([made, "--system", "tiny", "--check"])
    return code, capsys.readouterr().out.partition("checked:")[2]


def test_every_hash_of_a_passport_is_made_again_and_right(drawn, capsys):
    code, said = check(drawn.answer(b"a"), capsys)
    assert code == DONE and " 0 gone, 0 differ" in said, said
    for what in (
        "package",
        "config",
        "data files",
        "manifest",
        "split",
        "weights",
        "contract",
        "code commit",
        "gate",
        "image",
    ):
        assert f"ok      {what}" in said


def test_the_package_that_a_training_began_with_is_looked_for_in_every_system(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path / "state"))
    drawn = Drawn(tmp_path / "state", began="f" * 64)
    made = drawn.answer()
    assert "gone    start package" in check(made, capsys)[1]
    start = drawn.root / "systems" / "other" / "packages" / ("f" * 64)
    start.mkdir(parents=True)
    (start / MANIFEST).write_text("of another package")
    code, said = check(made, capsys)
    assert code == AGAINST and "differs start package" in said


def test_what_that_package_began_with_is_looked_for_too(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path / "state"))
    packages = tmp_path / "state" / "systems" / "other" / "packages"
    (packages / "new").mkdir(parents=True)
    (packages / "new" / MANIFEST).write_text("{}")
    (packages / "new" / "lineage.json").write_text(json.dumps({"weights": {"package_sha": "e" * 64}}))
    start = sha256_file(packages / "new" / MANIFEST)
    (packages / "new").rename(packages / start)
    said = check(Drawn(tmp_path / "state", began=start).answer(), capsys)[1]
    assert [line.split() for line in said.splitlines() if "start package" in line] == [
        ["ok", "start", "package", start[:16]],
        ["gone", "start", "package", "e" * 16],
    ]


def test_how_a_package_went_into_service_stands_in_the_passport(drawn, capsys):
    assert trace_prediction.main([drawn.answer(), "--system", "tiny"]) == DONE
    assert "alias:champion version 1 by train_model: first_model" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("what", "place"),
    [
        ("package/model.onnx", "systems/tiny/packages/*/model.onnx"),
        ("config", "systems/tiny/packages/*/config.yaml"),
        ("data files", "datasets/.dvc/cache/files/md5/0c/*"),
        ("split", "systems/tiny/stages/split/*/splits.parquet"),
        ("weights", "systems/tiny/stages/train/*/model.safetensors"),
        ("image", "systems/tiny/inbox/*/*.png"),
    ],
)
def test_what_was_changed_or_removed_since_is_named(drawn, capsys, what, place):
    made = drawn.answer(b"a")
    [path] = drawn.root.glob(place)
    path.write_bytes(b"[]")
    code, said = check(made, capsys)
    assert code == AGAINST and f"differs {what}" in said, said
    path.unlink()
    code, said = check(made, capsys)
    assert f"ok      {what} " not in said
    assert code == DONE or what == "config"


def test_a_package_that_is_gone_is_said_to_be_and_the_rest_is_told(drawn, capsys):
    made = drawn.answer()
    [package] = (drawn.system / "packages").iterdir()
    package.rename(drawn.root / "elsewhere")
    code, said = check(made, capsys)
    assert code == DONE and "gone    package" in said and "ok      gate" in said
