"""All that one worker writes down and answers for, opened around its predictor: records, feedback, inbox, metrics, release."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from bentos.http.feedback import FeedbackDesk, Spoken
from bentos.http.schemas import Challenger, Health, ModelVersion, ServedRelease
from bentos.inbox import Inbox
from bentos.metrics.meter import Meter
from bentos.metrics.names import exposition, metrics
from bentos.predictor import Predictor
from bentos.records import Recorder
from bentos.releasing.failures import Failures
from bentos.releasing.takeup import TakeUp
from configs.paths import StatePaths
from configs.places import places_of
from vision.passport import Places

BYTES_PER_MIB = 2**20


class Books:
    """Made outside the event loop or in it; `start` and `close` belong to the loop that answers."""

    def __init__(
        self, predictor: Predictor, state: Path, files: Sequence[Path], counted: SimpleNamespace | None = None
    ) -> None:
        """state: the state folder, which may not be there. files: `bentos.releasing.source.release_files()`.

        Tells the predictor to record, to count and to keep here.
        """
        self.metrics = counted or metrics()
        self._predictor, self._paths = predictor, StatePaths(state)
        served = predictor.lane.served
        self._system, self._poll_s = served.system, served.serving.release_poll_s
        self.recorder = Recorder(self._paths, self._system, served.serving.keeping, self.metrics)
        self.desk = FeedbackDesk(self.recorder, self._spoken, self._paths.packages(self._system), self.metrics)
        self.take_up = TakeUp(predictor.router, self.metrics, files, Failures(predictor.told))
        predictor.recorder = self.recorder
        predictor.observer = Meter(self.metrics, lambda: predictor.router.lanes.held)
        predictor.keeper = Inbox(
            self._paths.inbox(self._system), served.serving.keeping.inbox_mib * BYTES_PER_MIB, self.metrics
        )

    @property
    def folder(self) -> Path:
        """The system's, in the state folder."""
        return self._paths.system(self._system)

    def start(self) -> None:
        self.recorder.start()
        self.take_up.start(self._poll_s)

    async def close(self) -> None:
        """After the last answer: what was written is on the disk when this returns."""
        await self.take_up.stop()
        await to_thread.run_sync(self.recorder.close)

    def health(self) -> Health:
        lanes, lost, challenger = self._predictor.router.lanes, self.recorder.losses, self.challenger()
        lane, refused = lanes.champion, self.take_up.refused.said
        healthy = not (lost or refused or (challenger and challenger.refused))
        return Health(
            status="ok" if healthy else "degraded",
            **{name: lane.info[name] for name in ("system", "version", "package_sha")},
            release_no=lane.served.release.no,
            engine=lane.engine.name,
            precision=lane.engine.precision,
            queue_images=lanes.held,
            records_lost=lost,
            refused_release=refused,
            challenger=challenger,
        )

    def version(self) -> ModelVersion:
        return self._predictor.lane.version().model_copy(update={"challenger": self.challenger()})

    def challenger(self) -> Challenger | None:
        """Of the release that this worker acts on."""
        release = self._predictor.router.lanes.release
        if release.challenger is None:
            return None
        return Challenger(
            version=release.challenger.version,
            package_sha=release.challenger.package_sha,
            mode=release.mode,
            share=release.share,
            refused=self.take_up.refused_challenger.said,
        )

    def release(self) -> ServedRelease:
        """Without the salt: who knows it can choose to be a canary's client."""
        release = self._predictor.router.lanes.release
        return ServedRelease(
            **release.model_dump(exclude={"salt"}),
            refused_release=self.take_up.refused.said,
            refused_challenger=self.take_up.refused_challenger.said,
        )

    def places(self) -> Places:
        """Where a passport is joined from now."""
        carried = [lane.served.package.folder for lane in self._predictor.router.lanes]
        return places_of(self._paths, self._system, *carried)

    def _spoken(self, package_sha: str) -> Spoken:
        lanes = self._predictor.router.lanes
        lane = lanes.find(package_sha) or lanes.champion
        return Spoken(lane.kind, lane.spec.labels)


async def scrape(request: Request) -> Response:
    """GET /metrics, over all workers; also while the service is still starting."""
    books: Books | None = getattr(request.app.state, "books", None)
    text, content_type = await to_thread.run_sync(exposition, books.folder if books else None)
    return Response(text, media_type=content_type)
