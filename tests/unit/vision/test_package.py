"""Sealing a package and opening it: a package is what its manifest says, or nothing."""

import json

import pytest

from vision.errors import MachineError, UserError
from vision.package import MANIFEST, REQUIRED, InputSpec, Spec, open_package, seal_package, sha256_file


@pytest.fixture
def folder(tmp_path):
    """The smallest folder that can be sealed, with one file in a folder of its own."""
    spec = Spec(kind="classify", arch="resnet18", labels=("a", "b"), input=InputSpec(), outputs=("logits", "embedding"))
    for name in REQUIRED:
        (tmp_path / name).write_text(f"content of {name}")
    (tmp_path / "spec.json").write_text(spec.model_dump_json(by_alias=True))
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "0.jpg").write_bytes(bytes(range(200)))
    return tmp_path


def test_a_sealed_package_opens_with_its_spec_and_its_hash(folder):
    sha = seal_package(folder)
    package = open_package(folder, sha)
    assert package.package_sha == sha == sha256_file(folder / MANIFEST)
    assert package.spec.labels == ("a", "b") and package.folder == folder
    assert "golden/0.jpg" in json.loads((folder / MANIFEST).read_text())["files"]


def test_the_hash_depends_on_content_only_and_sealing_twice_changes_nothing(folder):
    first = seal_package(folder)
    assert seal_package(folder) == first and not list(folder.glob("*.partial"))
    (folder / "metrics.json").write_text("other")
    assert seal_package(folder) != first


@pytest.mark.parametrize("name", [*REQUIRED, "golden/0.jpg"])
def test_one_changed_byte_is_found_and_named(name, folder):
    sha = seal_package(folder)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(MachineError, match=f"{name} has changed"):
        open_package(folder, sha)


def test_an_extra_file_is_found_and_named(folder):
    seal_package(folder)
    (folder / "golden" / "extra.pkl").write_bytes(b"x")
    with pytest.raises(MachineError, match=r"golden/extra\.pkl is not in its manifest"):
        open_package(folder)


def test_a_missing_file_is_found_and_named(folder):
    seal_package(folder)
    (folder / "golden" / "0.jpg").unlink()
    with pytest.raises(MachineError, match=r"golden/0\.jpg is missing"):
        open_package(folder)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_folder_that_lacks_a_required_file_is_not_sealed(name, folder):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        seal_package(folder)
    assert not (folder / MANIFEST).exists()


def test_an_unsealed_folder_is_no_package(folder):
    with pytest.raises(UserError, match=f"no {MANIFEST}"):
        open_package(folder)


def test_a_manifest_that_was_rewritten_for_a_changed_file_is_not_the_package_asked_for(folder):
    sha = seal_package(folder)
    (folder / "model.onnx").write_text("another model")
    assert seal_package(folder) != sha
    with pytest.raises(MachineError, match=f"not {sha[:12]}"):
        open_package(folder, sha)


def test_a_spec_of_another_schema_is_refused(folder):
    text = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps({**text, "schema": 2}))
    with pytest.raises(MachineError, match=r"spec\.json is not of this version"):
        open_package(folder, seal_package(folder))
