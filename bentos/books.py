"""All that one worker writes down and answers for, opened around its predictor: records, feedback, inbox, metrics, release."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from bentos.feedback import FeedbackDesk
from bentos.inbox import Inbox
from bentos.meter import Meter
from bentos.metrics import exposition, metrics
from bentos.predictor import Predictor
from bentos.records import Recorder
from bentos.schemas import Health
from bentos.takeup import TakeUp
from configs.paths import StatePaths
from configs.places import places_of
from vision.passport import Places


class Books:
    """Made outside the event loop or in it; `start` and `close` belong to the loop that answers."""

    def __init__(
        self, predictor: Predictor, state: Path, files: Sequence[Path], counted: SimpleNamespace | None = None
    ) -> None:
        """state: the state folder, which may not be there. files: `bentos.source.release_files()`.

        Tells the predictor to record, to count and to keep here.
        """
        self.metrics = counted or metrics()
        self._predictor, self._paths = predictor, StatePaths(state)
        served = predictor.lane.served
        self._system, self._poll_s = served.system, served.serving.release_poll_s
        self.recorder = Recorder(self._paths, self._system, served.serving.keeping, self.metrics)
        self.desk = FeedbackDesk(
            self.recorder, lambda: predictor.lane.spec.labels, self._paths.packages(self._system), self.metrics
        )
        self.take_up = TakeUp(predictor, self.metrics, files)
        predictor.recorder = self.recorder
        predictor.observer = Meter(self.metrics, lambda: predictor.lane.batcher.held)
        predictor.keeper = Inbox(self._paths.inbox(self._system), self.metrics)

    def start(self) -> None:
        self.recorder.start()
        self.take_up.start(self._poll_s)

    async def close(self) -> None:
        """After the last answer: what was written is on the disk when this returns."""
        await self.take_up.stop()
        await to_thread.run_sync(self.recorder.close)

    def health(self) -> Health:
        lane = self._predictor.lane
        lost, refused = self.recorder.losses, self.take_up.refused
        return Health(
            status="degraded" if lost or refused else "ok",
            **{name: lane.info[name] for name in ("system", "version", "package_sha")},
            release_no=lane.served.release.no,
            engine=lane.engine.name,
            precision=lane.engine.precision,
            queue_images=lane.batcher.held,
            records_lost=lost,
            refused_release=refused,
        )

    def places(self) -> Places:
        """Where a passport is joined from now."""
        return places_of(self._paths, self._system, self._predictor.lane.served.package.folder)


async def scrape(_: Request) -> Response:
    """GET /metrics, over all workers."""
    text, content_type = await to_thread.run_sync(exposition)
    return Response(text, media_type=content_type)
