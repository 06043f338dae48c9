"""Progress of long work: a Prefect progress artifact (when a flow runs) and a bar in a terminal."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext
from tqdm import tqdm

EVERY_S = 2.0
LINE_EVERY_S = 10.0


class Progress:
    """Callable as `progress(done, total, note)`, as often as one likes: the artifact is written every two seconds at most,
    and where there is no terminal for a bar, a line every ten seconds.
    """

    def __init__(self, name: str, unit: str, bar: tqdm, artifact_id: str | None) -> None:
        self.name, self.unit, self.bar, self.artifact_id = name, unit, bar, artifact_id
        self._written = self._printed = time.monotonic()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now, last = time.monotonic(), done >= total
        if self.bar.disable:
            if note or last or now - self._printed > LINE_EVERY_S:
                print(f"  {self.name} {done}/{total} {self.unit} {note}".rstrip(), flush=True)
                self._printed = now
        else:
            self.bar.total, self.bar.n = total, done
            self.bar.set_postfix_str(note, refresh=True)
        if self.artifact_id and (last or now - self._written > EVERY_S):
            self._show(100.0 * done / max(total, 1))
            self._written = now

    def _show(self, percent: float) -> None:
        """Hours of training don't end because the server that shows them was away."""
        try:
            update_progress_artifact(self.artifact_id, progress=percent)
        except Exception as error:
            logging.getLogger(__name__).warning("progress of %s could not be shown: %s", self.name, error)


@contextmanager
def progress(name: str, unit: str = "img") -> Iterator[Progress]:
    """A bar on stderr when that is a terminal, an artifact `progress-<name>` when a Prefect task runs."""
    artifact_id = None
    if TaskRunContext.get():
        artifact_id = create_progress_artifact(progress=0.0, key=f"progress-{name.replace('_', '-')}", description=name)
    bar = tqdm(desc=name, unit=unit, disable=not sys.stderr.isatty(), leave=False, mininterval=0.5)
    try:
        yield Progress(name, unit, bar, artifact_id)
    finally:
        bar.close()
