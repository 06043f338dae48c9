"""Ray, started when the first stage needs it and stopped at the flow's end."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

OBJECT_STORE_BYTES = 512 * 2**20


def ensure_ray(address: str | None) -> None:
    """Connects to the cluster at `address`, or starts Ray on this machine; does nothing when it runs already.

    Only paths and small tables pass through Ray, so a small object store does, in a container's /dev/shm too.
    """
    import ray

    if ray.is_initialized():
        return
    common = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address:
        ray.init(address=address, **common)
    else:
        cpus = max(2, len(os.sched_getaffinity(0)))
        # "local": without it, Ray joins whatever `ray start` left on this machine, and refuses num_cpus there.
        ray.init("local", num_cpus=cpus, include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **common)


@contextmanager
def ray_session() -> Iterator[None]:
    """Stops, on leaving, the Ray that a stage inside started; leaves one alone that ran before."""
    import ray

    before = ray.is_initialized()
    try:
        yield
    finally:
        if ray.is_initialized() and not before:
            ray.shutdown()
