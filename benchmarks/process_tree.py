"""Memory and CPU time of a process with all its descendants, sampled while it runs."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

EVERY_S = 0.5
MIB = 2**20


@dataclass(frozen=True)
class Sample:
    """at: time.time(). cpu_s: of all processes so far, but for those that lived between two samples. memory, mapped: bytes.

    memory: proportional set size (PSS) of anonymous and shared memory: what the processes hold and the machine can't
    take back. mapped: PSS of files mapped into memory, libraries and memory-mapped arrays: pages that the machine
    drops or writes back when it needs room.
    """

    at: float
    cpu_s: float
    memory: int
    mapped: int


class TreeWatch:
    """`with TreeWatch(pid) as watch:` samples until the block ends; then `watch.between(start, end)` says what was used."""

    def __init__(self, pid: int) -> None:
        self._root, self._stop, self.samples = psutil.Process(pid), threading.Event(), []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "TreeWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        cpu_s: dict[psutil.Process, float] = {}
        while not self._stop.wait(EVERY_S):
            try:
                tree = [self._root, *self._root.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            self.samples.append(sample(tree, cpu_s))

    def between(self, start: float, end: float) -> dict[str, float]:
        """seconds, cpu_s, memory_mib and mapped_mib (peaks) of the time from `start` to `end`."""
        at = np.array([one.at for one in self.samples])
        cpu = [one.cpu_s for one in self.samples]
        inside = (at >= start) & (at <= end)
        inside[[np.abs(at - start).argmin(), np.abs(at - end).argmin()]] = True
        chosen = [one for one, is_in in zip(self.samples, inside, strict=True) if is_in]
        return {
            "seconds": end - start,
            "cpu_s": float(np.interp(end, at, cpu) - np.interp(start, at, cpu)),
            "memory_mib": max(one.memory for one in chosen) / MIB,
            "mapped_mib": max(one.mapped for one in chosen) / MIB,
        }


def sample(processes: list[psutil.Process], cpu_s: dict[psutil.Process, float]) -> Sample:
    """Of the processes that are still there. cpu_s: what each had used when it was last seen; brought up to date.

    Those that ended keep what they had used: nobody else's counter takes it over when their parent has ended too.
    """
    memory, mapped = 0, 0
    for process in processes:
        try:
            times, rollup = process.cpu_times(), Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        except (psutil.Error, OSError):
            continue
        kib = {words[0]: int(words[1]) for line in rollup.splitlines()[1:] if (words := line.split())}
        cpu_s[process] = times.user + times.system
        memory += 1024 * (kib["Pss_Anon:"] + kib["Pss_Shmem:"])
        mapped += 1024 * kib["Pss_File:"]
    return Sample(time.time(), sum(cpu_s.values()), memory, mapped)
