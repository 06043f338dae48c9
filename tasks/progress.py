"""Progress of long work: a Prefect progress artifact (when a flow runs) and a bar in a terminal."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext
from tqdm import tqdm

EVERY_S = 2.0


class Progress:
    """Callable as `progress(done, total)`, as often as one likes: the artifact is written every two seconds at most."""

    def __init__(self, name: str, bar: tqdm, artifact_id: str | None) -> None:
        self.name, self.bar, self.artifact_id = name, bar, artifact_id
        self._written = 0.0

    def __call__(self, done: int, total: int) -> None:
        self.bar.total = total
        self.bar.n = done
        self.bar.refresh() if done >= total else self.bar.update(0)
        if self.artifact_id and (done >= total or time.monotonic() - self._written > EVERY_S):
            self._written = time.monotonic()
            update_progress_artifact(self.artifact_id, progress=100.0 * done / max(total, 1))

    def note(self, text: str) -> None:
        """A line beside the bar (`epoch 3: macro_f1 0.91`)."""
        self.bar.set_postfix_str(text, refresh=True)


@contextmanager
def progress(name: str, unit: str = "img") -> Iterator[Progress]:
    """A bar on stderr when that is a terminal, an artifact `progress-<name>` when a Prefect task runs."""
    artifact_id = None
    if TaskRunContext.get():
        artifact_id = create_progress_artifact(progress=0.0, key=f"progress-{name.replace('_', '-')}", description=name)
    bar = tqdm(desc=name, unit=unit, disable=not sys.stderr.isatty(), leave=False, mininterval=0.5)
    try:
        yield Progress(name, bar, artifact_id)
    finally:
        bar.close()
