"""Which served images are worth a label: unsure, disputed or novel ones, in turns, without look-alikes."""

import zlib

import numpy as np
import pandas as pd

from vision.monitoring.selection import KnownHashes, choose, rank_disagreeing, rank_novel, rank_unsure

HALF = (2**32 - 1) << 32
"""A hash whose upper half is ones."""


def hashes(**known):
    """id -> hash; others get one of their own that is far from all."""

    def of(made):
        fallback = int(np.random.default_rng(zlib.crc32(made.encode())).integers(0, 2**63))
        return known.get(made, f"{fallback:016x}")

    return of


def ranking(*ids):
    return iter([(made, ("test", made)) for made in ids])


def known(*values):
    return KnownHashes.of(values, 4)


def test_rankings_take_turns_and_no_image_is_chosen_twice():
    chosen = choose([ranking("a", "b", "c"), ranking("b", "x"), ranking("p")], 5, known(), hashes())
    assert chosen.ids == ("a", "b", "p", "c", "x")


def test_a_budget_is_kept_and_an_empty_ranking_leaves_its_turns_to_the_others():
    assert len(choose([ranking(), ranking("a", "b", "c")], 2, known(), hashes()).ids) == 2
    assert choose([], 5, known(), hashes()).ids == ()


def test_look_alikes_of_known_and_of_chosen_images_are_passed_over_and_counted():
    near = hashes(a=f"{0:016x}", b=f"{0b1111:016x}", c=f"{0b11111:016x}", d=f"{HALF + 1:016x}", e=None)
    chosen = choose([ranking("a", "b", "c", "d", "e")], 9, known(f"{HALF:016x}"), near)
    assert chosen.ids == ("a", "c")
    assert chosen.passed_over == {"near_duplicate": 2, "shows_nothing": 1}


def test_only_images_whose_turn_comes_are_decoded():
    asked = []
    choose([ranking(*map(str, range(1000)))], 3, known(), lambda made: asked.append(made) or hashes()(made))
    assert len(asked) == 3


def test_unsure_images_come_by_their_margin_and_sure_ones_not_at_all():
    table = pd.DataFrame({"id": list("abc"), "margin": [0.3, 0.1, 0.9], "answer_confidence": [0.6, 0.5, 0.95]})
    assert [made for made, _ in rank_unsure(table)] == ["b", "a"]


def test_two_models_that_are_sure_of_different_answers_come_first():
    table = pd.DataFrame(
        {
            "id": list("abcd"),
            "answer_label": ["moss", "moss", "moss", "moss"],
            "answer_confidence": [0.6, 0.9, 0.9, 0.9],
            "other_label": ["leaf", "leaf", "moss", None],
            "other_confidence": [0.9, 0.8, 0.9, None],
            "disputed": [True, True, False, False],
        }
    )
    found = list(rank_disagreeing(table))
    assert [made for made, _ in found] == ["b", "a"]
    assert found[0][1] == ("disagreement", "champion: moss 0.90, challenger: leaf 0.80")
    elsewhere = list(rank_disagreeing(table[2:3].assign(disputed=True)))
    assert elsewhere[0][1][1] == "champion: moss 0.90, challenger: moss 0.90, but not in the same places"


def test_an_image_far_from_all_that_was_tested_is_novel_and_one_among_them_is_not():
    random = np.random.default_rng(5)
    reference = pd.DataFrame(random.normal(size=(400, 8))).add_prefix("e").assign(path="x")
    rows = np.vstack([np.zeros(8), np.full(8, 9.0), np.full(8, 30.0), np.full(8, np.nan)])
    table = pd.DataFrame(rows).add_prefix("e").assign(id=list("abcd"))
    found = list(rank_novel(table, reference))
    assert [made for made, _ in found] == ["c", "b"] and found[0][1][0] == "novelty"
    again = pd.DataFrame(random.normal(size=(400, 8))).add_prefix("e").assign(id=[str(i) for i in range(400)])
    assert len(list(rank_novel(again, reference))) < 16


def test_a_reference_without_embeddings_makes_nothing_novel():
    table = pd.DataFrame({"id": ["a"], "e0": [1.0]})
    assert list(rank_novel(table, pd.DataFrame({"brightness": [0.1] * 20}))) == []
    assert list(rank_novel(table, pd.DataFrame({"e0": [0.1] * 20, "e1": [0.2] * 20}))) == []


def drawn(rng, count=60):
    """Candidates with many equal values, as rounded numbers are."""
    embedding = pd.DataFrame(rng.integers(0, 3, (count, 4)) * 2.0).add_prefix("e")
    plain = pd.DataFrame({
        "id": [f"{number:04d}" for number in range(count)],
        "margin": rng.integers(0, 4, count) / 10,
        "answer_label": "moss",
        "answer_confidence": rng.integers(5, 8, count) / 10,
        "other_label": rng.choice(["moss", "slate", None], count),
        "other_confidence": 0.9,
    }).assign(disputed=lambda table: table["other_label"] == "slate")  # fmt: skip
    return pd.concat([plain, embedding], axis=1)


def picks(table, reference, budget):
    rankings = [rank_disagreeing(table), rank_unsure(table), rank_novel(table, reference)]
    return choose(rankings, budget, known(), hashes())


def test_the_same_candidates_give_the_same_picks_in_the_same_order_however_they_lie():
    rng = np.random.default_rng(0)
    table, reference = drawn(rng), pd.DataFrame(rng.normal(0, 0.1, (50, 4))).add_prefix("e")
    first = picks(table, reference, 20)
    for seed in range(5):
        shuffled = table.sample(frac=1, random_state=seed)
        assert picks(shuffled, reference.sample(frac=1, random_state=seed), 20) == first
    assert len(first.ids) == len(set(first.ids)) == 20
    turns = [name for name, _ in first.why[:6]]
    assert turns == ["disagreement", "low confidence", "novelty"] * 2


def test_a_smaller_budget_is_the_beginning_of_a_larger_one():
    rng = np.random.default_rng(1)
    table, reference = drawn(rng), pd.DataFrame(rng.normal(0, 0.1, (50, 4))).add_prefix("e")
    whole = picks(table, reference, 40).ids
    assert [picks(table, reference, budget).ids for budget in (1, 7, 39)] == [whole[:1], whole[:7], whole[:39]]
