"""Prediction ids."""

import time
from uuid import RFC_4122, UUID

from bentos.ids import AHEAD, Ids
from vision.records import made_at_ms


def test_ids_are_uuids_of_version_7_with_the_time_they_were_made_and_never_twice_the_same():
    ids, before = Ids(), time.time_ns() // 10**6
    made = [ids.next() for _ in range(3 * AHEAD)]
    assert len(set(made)) == len(made)
    assert {UUID(one).version for one in made} == {7} and {UUID(one).variant for one in made} == {RFC_4122}
    assert all(before <= made_at_ms(one) <= time.time_ns() // 10**6 for one in made)


def test_their_random_bits_are_all_used():
    ids, ones = Ids(lambda: 0), 0
    for _ in range(AHEAD):
        ones |= UUID(ids.next()).int
    assert ones == 7 << 76 | 0xFFF << 64 | 0b10 << 62 | (1 << 62) - 1


def test_a_forked_process_draws_its_own(monkeypatch):
    ids = Ids()
    first = ids.next()
    left = ids._left
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert ids.next() != first and left[-10:] not in ids._left
