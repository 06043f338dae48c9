"""How many cores a worker gets, and what is said when Ray gives up."""

import pytest

from tasks.cluster import resources
from tasks.cluster.resources import even_share, failed, waited_in_vain


@pytest.mark.parametrize(
    ("machines", "workers", "share"),
    [([8], 2, 4), ([1, 2], 1, 2), ([16, 16], 1, 16), ([16, 16], 3, 8), ([3, 3], 4, 1), ([1], 2, 1), ([], 1, 1)],
)
def test_workers_share_the_cores_such_that_each_fits_on_one_machine(machines, workers, share):
    assert even_share(machines, workers) == share


def test_of_several_failures_the_dead_worker_is_named_not_those_that_missed_it():
    from ray.exceptions import ActorDiedError
    from ray.train import WorkerGroupError
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

    dead = WorkerHealthCheckFailedError("A worker health check failed.", ActorDiedError())
    error = failed(WorkerGroupError("both", {0: RuntimeError("connection closed by peer"), 1: dead}), max_failures=2)
    assert "worker 1" in error.got and "ActorDiedError" in error.got and "3 failures" in error.got
    assert "max_failures" in error.allowed


def test_only_a_start_without_room_counts_as_waiting_in_vain():
    from ray.train import ControllerError
    from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError

    assert waited_in_vain(ControllerError(WorkerGroupStartupTimeoutError(2)))
    assert not waited_in_vain(ControllerError(WorkerGroupStartupFailedError("died")))


def test_a_worker_takes_no_more_threads_than_cores_that_it_may_run_on(monkeypatch):
    monkeypatch.setattr(resources.os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert (resources.threads_for(2), resources.threads_for(1)) == (1, 1)
