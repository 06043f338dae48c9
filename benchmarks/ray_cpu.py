"""CPU-seconds of this process and of all that descend from it, Ray's servers and workers too."""

import resource
import threading

import psutil

EVERY_S = 0.2


class RayCpu:
    """`with RayCpu() as cpu:` and then `cpu.seconds`.

    Ray's workers are no children whose time the kernel would hand to this process, so they are looked at while they live:
    what one uses between the last look and its end is lost, 0.2 s at most.
    """

    def __init__(self) -> None:
        self._root, self._stop = psutil.Process(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seconds = 0.0

    def __enter__(self) -> "RayCpu":
        self._own, self._before, self._last = _own_seconds(), {}, {}
        self._look(self._before)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look(self._last)
        used = sum(seconds - self._before.get(process, 0.0) for process, seconds in self._last.items())
        self.seconds = _own_seconds() - self._own + used

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self._look(self._last)

    def _look(self, seconds: dict[psutil.Process, float]) -> None:
        for process in self._root.children(recursive=True):
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            seconds[process] = times.user + times.system


def _own_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
