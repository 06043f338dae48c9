"""A stage as a Prefect task: it shows as Reused when its result was there already, and hands back the plain value."""

import functools
from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed

from tasks.stages import StageResult


def stage_task(name: str, **options: Any) -> Callable[[Callable[..., StageResult]], Callable[..., StageResult]]:
    """Decorator. `options` go to `prefect.task`: retries, timeout_seconds, tags.

    Prefect's own result cache is off: the stage store is the one cache, so the two can't disagree.
    """

    def decorate(work: Callable[..., StageResult]) -> Callable[..., StageResult]:
        @task(name=name, cache_policy=NO_CACHE, persist_result=False, **options)
        @functools.wraps(work)
        def as_task(*args: Any, **kwargs: Any) -> Any:
            result = work(*args, **kwargs)
            label = "Reused" if result.reused else "Completed"
            return Completed(name=label, data=result, message=f"{name}: {result.key[:12]}, {result.seconds:.1f} s")

        @functools.wraps(work)
        def call(*args: Any, **kwargs: Any) -> StageResult:
            return as_task(*args, **kwargs, return_state=True).result(raise_on_failure=True)

        return call

    return decorate
