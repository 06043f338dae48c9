"""Strict YAML: duplicates, secrets, `extends`."""

import pytest

from configs.yaml_files import layers_of, merged, read_mapping
from vision.errors import UserError


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def resolved(path):
    return merged(layers_of(path))


def test_a_syntax_error_names_file_and_line(tmp_path):
    write(tmp_path, a="one: 1\ntwo: [1\nthree: 3\n")
    with pytest.raises(UserError, match=r"a\.yaml, line 3"):
        read_mapping(tmp_path / "a.yaml")


def test_a_duplicate_key_is_refused_at_any_depth(tmp_path):
    write(tmp_path, a="one: 1\ntwo:\n  x: 1\n  y: 2\n  x: 3\n")
    with pytest.raises(UserError, match=r"line 5.*`x` is there twice"):
        read_mapping(tmp_path / "a.yaml")


def test_a_merge_key_is_no_duplicate(tmp_path):
    write(tmp_path, a="base: &base {x: 1, y: 2}\ntop:\n  <<: *base\n  x: 3\n")
    assert read_mapping(tmp_path / "a.yaml")["top"] == {"x": 3, "y": 2}


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words\n"])
def test_a_file_without_keys_is_refused(text, tmp_path):
    write(tmp_path, a=text)
    with pytest.raises(UserError, match=r"a\.yaml holds"):
        read_mapping(tmp_path / "a.yaml")


def test_no_object_of_python_is_made(tmp_path):
    write(tmp_path, a="x: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(UserError, match=r"line 1"):
        read_mapping(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    "key", ["db_password", "token", "hub_token", "api_key", "apikey", "aws_secret_access_key", "Password"]
)
def test_a_secret_in_a_file_is_refused_and_not_shown(key, tmp_path):
    write(tmp_path, a=f"serving:\n  list:\n    - {{{key}: hunter2}}\n")
    with pytest.raises(UserError) as caught:
        read_mapping(tmp_path / "a.yaml")
    assert f"serving.list.0.{key}" in str(caught.value) and "environment" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_extends_merges_mappings_and_replaces_lists(tmp_path):
    write(tmp_path, base="a: {x: 1, y: 2}\nl: [1, 2]\n", top="extends: base\na: {y: 3}\nl: [9]\n")
    assert resolved(tmp_path / "top.yaml") == {"a": {"x": 1, "y": 3}, "l": [9]}


def test_extends_follows_chains_lists_and_folders(tmp_path):
    (tmp_path / "parts").mkdir()
    write(tmp_path / "parts", deep="v: deep\nd: 1\n", one="extends: deep.yaml\nv: one\no: 1\n", two="v: two\nt: 1\n")
    write(tmp_path, top="extends: [parts/one, parts/two.yaml]\nown: 1\n")
    assert resolved(tmp_path / "top.yaml") == {"v": "two", "d": 1, "o": 1, "t": 1, "own": 1}


def test_another_type_starts_afresh(tmp_path):
    write(tmp_path, base="source: {type: drawn, seed: 7}\n", top="extends: base\nsource: {type: folder, path: x}\n")
    assert resolved(tmp_path / "top.yaml") == {"source": {"type": "folder", "path": "x"}}


def test_a_part_used_twice_is_no_circle(tmp_path):
    write(tmp_path, c="x: 1\n", a="extends: c\n", b="extends: c\n", top="extends: [a, b]\n")
    assert resolved(tmp_path / "top.yaml") == {"x": 1}


def test_a_circle_is_refused_and_shown(tmp_path):
    write(tmp_path, a="extends: b\n", b="extends: a\n")
    with pytest.raises(UserError, match=r"a\.yaml -> b\.yaml -> a\.yaml"):
        layers_of(tmp_path / "a.yaml")


def test_a_missing_part_names_who_asked_for_it(tmp_path):
    write(tmp_path, a="extends: nothing\n")
    with pytest.raises(UserError, match=r"a\.yaml: extends `nothing\.yaml`, which is not there"):
        layers_of(tmp_path / "a.yaml")


def test_extends_is_a_name_or_a_list_of_names(tmp_path):
    write(tmp_path, a="extends: {b: 1}\n")
    with pytest.raises(UserError, match="a file name or a list"):
        layers_of(tmp_path / "a.yaml")
