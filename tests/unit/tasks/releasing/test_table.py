"""Every release there ever was: a number is taken once, by one of any number of writers."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, inspect

from tasks.audit import read_audit
from tasks.releasing.table import Taken, add_release, read_releases, release_row
from vision.release import ReleasedModel, champions, first_release, moved

FIRST = first_release(ReleasedModel(version=1, package_sha="a" * 64, uri="p"), "first_model")
AUDIT = {
    "system": "leaf",
    "what": "alias:champion",
    "version": 1,
    "package_sha": "a" * 64,
    "who": "t",
    "why": "w" * 5000,
}


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'state.db'}"


def test_rows_come_back_in_order_and_by_system_with_their_evidence(url):
    second = moved(FIRST, "better", champion=FIRST.champion.model_copy(update={"version": 2, "package_sha": "b" * 64}))
    add_release(url, release_row(second, "leaf", "promote", "release_model", {"answers": 300}))
    add_release(url, release_row(FIRST, "leaf", "first", "train_model", {}), [AUDIT])
    add_release(url, release_row(FIRST, "moss", "first", "train_model", {}))
    rows = read_releases(url, "leaf")
    assert [(row.no, row.step, row.evidence) for row in rows] == [(0, "first", {}), (1, "promote", {"answers": 300})]
    assert [row.document for row in rows] == [FIRST, second] and rows[0].at <= datetime.now(UTC)
    (audited,) = read_audit(url, "leaf")
    assert len(audited["why"]) == 2000, "a database that minds the length of a column must take it"


def test_of_many_writers_of_one_number_exactly_one_wins_and_leaves_one_audit_row(url):
    def attempt(_):
        try:
            add_release(url, release_row(FIRST, "leaf", "first", "train_model", {}), [AUDIT])
        except Taken:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1
    assert len(read_releases(url, "leaf")) == len(read_audit(url, "leaf")) == 1


def test_the_audit_rows_of_a_system_are_found_by_an_index_whoever_makes_the_table(url):
    read_releases(url, "leaf")
    indices = inspect(create_engine(url)).get_indexes("audit")
    assert [index["column_names"] for index in indices] == [["system"]]


def test_whoever_was_gone_back_from_is_not_gone_back_to():
    def release(no, digit):
        model = ReleasedModel(version=no + 1, package_sha=digit * 64, uri="p")
        return FIRST.model_copy(update={"no": no, "champion": model})

    def line(digits):
        return "".join(model.package_sha[0] for model in champions([release(no, d) for no, d in enumerate(digits)]))

    assert [line(digits) for digits in ("a", "aab", "abc", "abcb", "abcba", "aba", "abac")] == [
        "a", "ab", "abc", "ab", "a", "a", "ac"
    ]  # fmt: skip
