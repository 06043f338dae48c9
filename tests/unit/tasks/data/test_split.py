import json

import pytest

from tasks.data.split import _parent

GRANDPARENT = {"split_sha": "s0", "path": "p0"}
HEAD = {
    "manifest_sha": "m1",
    "section": {"train": 0.7},
    "source": "c1",
    "split_sha": "s1",
    "path": "p1",
    "parent": GRANDPARENT,
}
ITSELF = {"split_sha": "s1", "path": "p1"}


def asked(manifest_sha="m1", train=0.7, source="c1"):
    return {"manifest_sha": manifest_sha, "section": {"train": train}, "source": source}


@pytest.fixture
def head_file(tmp_path):
    (tmp_path / "split_head.json").write_text(json.dumps(HEAD))
    return tmp_path / "split_head.json"


@pytest.mark.parametrize("released", [False, True])
def test_a_first_split_inherits_from_none(tmp_path, released):
    assert _parent(tmp_path / "split_head.json", asked(), released) is None


@pytest.mark.parametrize("released", [False, True])
def test_the_same_again_has_the_parent_it_had(head_file, released):
    assert _parent(head_file, asked(), released) == GRANDPARENT


@pytest.mark.parametrize("released", [False, True])
def test_new_data_inherits_from_the_last_split(head_file, released):
    assert _parent(head_file, asked("m2"), released) == ITSELF


@pytest.mark.parametrize("manifest_sha", ["m1", "m2"])
def test_other_shares_start_afresh_only_while_nothing_is_released(head_file, manifest_sha):
    assert _parent(head_file, asked(manifest_sha, train=0.8), released=False) is None
    assert _parent(head_file, asked(manifest_sha, train=0.8), released=True) == ITSELF


@pytest.mark.parametrize("manifest_sha", ["m1", "m2"])
def test_other_code_moves_no_image_once_a_model_is_released(head_file, manifest_sha):
    assert _parent(head_file, asked(manifest_sha, source="c2"), released=True) == ITSELF
    assert _parent(head_file, asked(manifest_sha, source="c2"), released=False) is None
