"""Which clients a canary answers: a share of them, always the same ones, whoever asks again and whenever."""

import itertools
from types import SimpleNamespace

import pytest
from scipy.stats import binom

from bentos.hooks import Client
from bentos.releasing.router import Lanes, Router, image_name
from vision.release import Release, sticky_number

CLIENTS = 2000
NO_SCOPES: frozenset[str] = frozenset()
ANYBODY = Client("anonymous", None, NO_SCOPES, "127.0.0.1")


def router(share: float, salt: str = "pepper", mode: str = "canary") -> Router:
    model = {"version": 1, "package_sha": "a" * 64, "uri": "a"}
    release = Release(
        no=3, champion=model, challenger=model, mode=mode, share=share, salt=salt, reason="test", at="2026-11-21T00:00Z"
    )
    champion, challenger = (
        SimpleNamespace(route=route, batcher=SimpleNamespace(held=held)) for route, held in (("champion", 2), (mode, 5))
    )
    return Router(Lanes(release, champion, challenger))


def chosen(router: Router, count: int = CLIENTS) -> set[str]:
    clients = (Client(f"key-{number}", None, NO_SCOPES) for number in range(count))
    return {client.key_id for client in clients if router.lane_of(client).route == "canary"}


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_canary_answers_its_share_of_the_clients(share):
    low, high = binom.interval(0.9999, CLIENTS, share)
    for salt in ("pepper", "thyme", "sage"):
        assert low <= len(chosen(router(share, salt))) <= high


def test_a_client_stays_where_it_is_and_another_salt_draws_others():
    mine = chosen(router(0.1))
    assert mine == chosen(router(0.1))  # After a restart, and in every other worker.
    others = chosen(router(0.1, "thyme"))
    low, high = binom.interval(0.9999, len(mine), 0.1)
    assert low <= len(mine & others) <= high
    assert mine < chosen(router(0.3))  # A larger share takes more, and lets none go.


def test_no_share_is_nobody_and_all_is_everybody():
    assert (len(chosen(router(0.0), 200)), len(chosen(router(1.0), 200))) == (0, 200)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_of_those_without_a_key_a_canary_answers_its_share_of_the_images_and_each_image_always(share):
    """Behind a proxy they are all one address."""
    canary, images = router(share), [b"image %d" % number for number in range(CLIENTS)]
    routes = [canary.lane_of(ANYBODY, image).route for image in images]
    low, high = binom.interval(0.9999, CLIENTS, share)
    assert low <= routes.count("canary") <= high
    again, elsewhere = router(share), Client("anonymous", None, NO_SCOPES, "127.0.0.9")
    assert [again.lane_of(elsewhere, image).route for image in images] == routes
    assert {router(share, "thyme").lane_of(ANYBODY, image).route for image in images} == {"champion", "canary"}


def test_before_an_image_has_come_and_for_who_is_nobody_it_is_the_champion():
    assert (router(0.99).lane_of(ANYBODY).route, router(1.0).lane_of(None, b"image").route) == ("champion", "champion")


def test_large_images_that_begin_alike_are_told_apart_by_their_length():
    start = bytes(2**17)
    assert len({image_name(start), image_name(start + b"x"), image_name(start[:-1])}) == 3


def test_bitmaps_of_one_length_that_begin_alike_are_told_apart():
    border = bytes(2**17)
    assert image_name(border + b"a") != image_name(border + b"b")


def test_a_key_is_one_client_whatever_it_sends():
    canary = router(0.5)
    for number in range(50):
        keyed = Client(f"key-{number}", None, NO_SCOPES)
        assert len({canary.lane_of(keyed, b"%d" % image).route for image in range(20)}) == 1


def test_a_shadow_answers_nobody_and_its_images_keep_nobody_waiting():
    shadow = router(1.0, mode="shadow")
    assert {shadow.lane_of(Client(key, None, NO_SCOPES)).route for key in map(str, range(50))} == {"champion"}
    assert (shadow.lanes.held, router(1.0).lanes.held) == (2, 7)


def test_sticky_numbers_are_even():
    numbers = [sticky_number("pepper", f"key-{number}") / 2**256 for number in range(CLIENTS)]
    for low, high in itertools.pairwise(step / 10 for step in range(11)):
        inside = sum(low <= number < high for number in numbers)
        assert binom.ppf(0.00001, CLIENTS, 0.1) <= inside <= binom.ppf(0.99999, CLIENTS, 0.1)
