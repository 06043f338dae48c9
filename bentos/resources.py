"""How many processes and threads a server takes: the settings, or this machine's cores shared out."""

import contextlib
import gc
import os
from importlib.util import find_spec
from pathlib import Path

from configs.serving import ServingConfig

CGROUP_CPU = Path("/sys/fs/cgroup/cpu.max")
COLLECT_AT = (2000, 10, 10)
"""Objects of three ages, as `gc.set_threshold` takes them."""


def cores() -> int:
    """Cores that this process may use: its affinity, and a container's quota (cgroup 2), rounded down, at least 1."""
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = CGROUP_CPU.read_text().split()
        free = min(free, int(int(quota) / int(period)))
    return max(1, free)


def worker_count(serving: ServingConfig) -> int:
    """Processes of one inference thread beat one process of many threads. A GPU belongs to one worker."""
    if serving.workers:
        return serving.workers
    return 1 if engine_name(serving) == "torch" else cores()


def thread_count(serving: ServingConfig) -> int:
    """Inference threads of one worker."""
    return serving.threads or max(1, cores() // worker_count(serving))


def spare_cores(serving: ServingConfig) -> bool:
    """True where a worker can decode while its engine runs: on a second core, or beside a GPU."""
    return engine_name(serving) == "torch" or worker_count(serving) < cores()


def engine_name(serving: ServingConfig) -> str:
    return best_engine() if serving.engine == "auto" else serving.engine


def best_engine() -> str:
    """torch only where a GPU can be seen: a CPU server imports none, even where it is installed."""
    if has_gpu() and find_spec("torch") is not None:
        return "torch"
    return "openvino" if find_spec("openvino") is not None else "onnxruntime"


def has_gpu() -> bool:
    """Asks NVIDIA's driver, without torch; False where there is none."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetCount() > 0
    except pynvml.NVMLError:
        return False


def spare_collector() -> None:
    """Once all is loaded: what lasts as long as the process is looked through no more. To walk it again and again took
    a third of the event loop's time, and held up whatever waited there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AT)
