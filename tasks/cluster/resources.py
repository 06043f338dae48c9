"""What one training takes of the cluster, and what is said when the cluster has not got it."""

import os
from typing import TYPE_CHECKING

from vision.errors import MachineError, UserError
from vision.settings import Section
from vision.training.config import TrainingConfig

if TYPE_CHECKING:
    from ray.train import TrainingFailedError


class Resources(Section):
    """What one training takes of the cluster."""

    workers: int
    cpus_per_worker: int
    gpus_per_worker: float


def resources_for(config: TrainingConfig) -> Resources:
    """`cpus_per_worker`, or as many cores as all workers find on the machines there are; a GPU for each worker where
    there are enough.

    Raises `UserError` when one machine is all there is and has too few: no other will come.
    """
    import ray

    machines, workers = machine_resources(), config.workers
    cpus = config.cpus_per_worker or even_share([int(m.get("CPU", 0)) for m in machines], workers)
    gpus = config.gpus_per_worker
    if gpus is None:
        gpus = 1.0 if sum(m.get("GPU", 0) for m in machines) >= workers else 0.0
    alone = len(ray.nodes()) == 1 and machines and machines[0].get("CPU", 0) > 0
    for name, asked in (("CPU", cpus * workers), ("GPU", gpus * workers)):
        if alone and asked > machines[0].get(name, 0):
            raise UserError(
                f"training: {workers} workers ask for {asked:g} {name}s together",
                f"at most {machines[0].get(name, 0):g}, which this machine gives to Ray",
                f"lower training.workers or {name.lower()}s_per_worker, or use a larger cluster (RAY_ADDRESS)",
            )
    return Resources(workers=workers, cpus_per_worker=cpus, gpus_per_worker=gpus)


def threads_for(cpus: int) -> int:
    """Of torch, in this process: a thread a core that Ray gave it, and no more than the cores that it may run on. Two
    threads on one core wait for each other: a training ran at a fifth of its speed."""
    return min(cpus, len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else cpus


def even_share(cpus: list[int], workers: int) -> int:
    """The most cores a worker such that all `workers` find room on machines with `cpus` cores; at least 1."""
    for share in range(max(cpus, default=1), 1, -1):
        if sum(machine // share for machine in cpus) >= workers:
            return share
    return 1


def machine_resources() -> list[dict[str, float]]:
    """Of each living node."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def no_room(resources: Resources, wait_s: float) -> MachineError:
    there = " + ".join(f"{machine.get('CPU', 0):g}" for machine in machine_resources())
    gpus = f" and {resources.gpus_per_worker:g} GPUs" if resources.gpus_per_worker else ""
    return MachineError(
        f"training: no room for {resources.workers} workers of {resources.cpus_per_worker} CPUs{gpus} each: "
        f"the cluster's nodes have {there} CPUs (waited {wait_s:.0f} s)",
        "room for all workers at once; a node that was lost must be replaced",
        "add a node; what was trained is kept up to the last epoch",
    )


def waited_in_vain(error: "TrainingFailedError") -> bool:
    """Ray found no room for the workers, as often as it may look. Ray keeps the class to itself, so by its name."""
    return type(getattr(error, "controller_failure", None)).__name__ == "WorkerGroupStartupTimeoutError"


def failed(error: "TrainingFailedError", max_failures: int) -> MachineError:
    """Workers died or raised too often, or Ray Train itself failed."""
    causes = dict(getattr(error, "worker_failures", {}) or {"": getattr(error, "controller_failure", error)})
    # When one worker dies, the others fail for want of it: the dead one is the cause.
    rank = min(causes, key=lambda rank: not hasattr(causes[rank], "health_check_failure"))
    cause = getattr(causes[rank], "health_check_failure", causes[rank])
    reason = (str(cause).strip() or "no reason given").splitlines()[0]
    return MachineError(
        f"training: worker {rank} failed, the last of {max_failures + 1} failures: {type(cause).__name__}: {reason}"
        if rank != ""
        else f"training: Ray Train failed: {type(cause).__name__}: {reason}",
        f"at most {max_failures} failures (training.max_failures)",
        "see Ray's log of that worker; what was trained is kept up to the last epoch",
    )
