"""Which images are described: as many as a share of a core's time allows."""

from types import SimpleNamespace

import pytest

import bentos.batching.decoder
from bentos.batching.decoder import BURST_S, FIRST_COST_S, Sampler


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(s=100.0)
    monkeypatch.setattr(bentos.batching.decoder.time, "monotonic", lambda: now.s)
    return now


def described(sampler: Sampler, clock, cost_s: float, seconds: int, per_s: int = 1000) -> int:
    """How many of `per_s` images a second are, each of which really costs `cost_s`."""
    count = 0
    for _ in range(seconds * per_s):
        clock.s += 1 / per_s
        if (taken_s := sampler.take()) is not None:
            sampler.spend(taken_s, cost_s)
            count += 1
    return count


@pytest.mark.parametrize("cost_s", [0.0005, 0.001, 0.02])
def test_the_sampler_takes_its_share_of_a_core_whatever_an_image_costs(clock, cost_s):
    sampler = Sampler(0.01)
    described(sampler, clock, cost_s, 20)
    assert described(sampler, clock, cost_s, 100) * cost_s == pytest.approx(0.01 * 100, rel=0.05)


def test_the_sampler_saves_up_a_few_seconds_and_no_more(clock):
    sampler = Sampler(0.01)
    clock.s += 3600
    assert sum(sampler.take() is not None for _ in range(1000)) == BURST_S * 0.01 / FIRST_COST_S
    assert Sampler(0).take() is None


def test_a_slow_service_has_all_its_images_described(clock):
    assert described(Sampler(0.01), clock, 0.001, 100, per_s=5) == 500
