"""The BentoML service: `bentoml serve` in the project's root, or a built bento. Loads no torch, mlflow or ray."""

from pathlib import Path
from typing import Any

import bentoml

from bentos.access.bind import bind_host, check_bind
from bentos.access.gate import has_lock
from bentos.access.guard import Guard, open_rules
from bentos.batching.lane import open_lane
from bentos.books import Books
from bentos.connections.server import stand_in
from bentos.engine import ready_engine
from bentos.http.app import attach, create_app, explain, predict
from bentos.http.feedback import feedback
from bentos.http.full import FullHouse
from bentos.http.shortcut import Ahead, Shortcut
from bentos.limits.rate import host_folder
from bentos.metrics.meter import Timed
from bentos.predictor import Predictor
from bentos.releasing.source import find_served, find_serving, release_files, state_folder
from bentos.resources import spare_collector, worker_count
from configs.paths import StatePaths
from configs.serving import ServingConfig
from vision.errors import ClearError

app = create_app()
FREQUENT = {"/predict": predict, "/explain": explain, "/feedback": feedback}
BOUNDED = ("/predict", "/explain")
"""Their time is bounded by us; that of the others by BentoML."""
SPARE_S = 10.0
"""Over our own bounds, which answer in our own form."""


def planned() -> dict[str, Any]:
    """BentoML fixes the number of processes and its own timeout while it loads this module, before any hook runs."""
    try:
        serving, workers = (found := find_serving()), worker_count(found)
    except ClearError:
        serving, workers = ServingConfig(), 1  # `check` tells it, once the server really starts
    # Reading a body and answering it are bounded one after the other.
    longest_s = serving.access.body_timeout_s + serving.request_timeout_s
    return {"workers": workers, "traffic": {"timeout": longest_s + SPARE_S}}


def host_place() -> Path:
    """Where the workers of this service on this host tell each other what they have."""
    return host_folder(StatePaths(state_folder()).system(app.state.predictor.lane.served.system))


def guarded(service: bentoml.Service) -> bentoml.Service:
    """Keys, rates, limits and headers stand before BentoML's own endpoints too; what they refuse is timed as well."""
    stand_in(PLANNED["workers"], host_place, FullHouse(app))
    service.add_asgi_middleware(Ahead, paths=BOUNDED)
    service.add_asgi_middleware(Timed)
    service.add_asgi_middleware(Guard, holder=app)
    service.add_asgi_middleware(Shortcut, own=app, endpoints=FREQUENT)
    return service


PLANNED = planned()


# Loopback unless `--host` says otherwise (BentoML's own default is every interface); then `check` wants keys.
@guarded
@bentoml.asgi_app(app, path="/")
@bentoml.service(
    **PLANNED,
    metrics={"enabled": False},
    http={"host": "127.0.0.1"},
    # Our metrics and records tell more. A span for each request costs as much as the whole of our own HTTP layer: who
    # exports traces sets `tracing.excluded_urls` in a BENTOML_CONFIG of his own, which goes before this, and takes `Ahead`
    # away, behind which BOUNDED meet none of BentoML's layers.
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
class VisionService:
    """Answers about images with one model package."""

    @bentoml.on_deployment
    def check() -> None:
        """Runs once, before any worker: without a package that proves itself the server says why and does not start."""
        try:
            served = find_served()
            check_bind(bind_host(), has_lock(served.serving.access, state_folder(), served.system))
            ready_engine(served.package, served.serving.model_copy(update={"max_batch": 1}))
        except ClearError as error:
            raise bentoml.exceptions.BentoMLConfigException(f"nothing to serve\n{error}") from None

    @bentoml.on_startup
    async def start(self) -> None:
        """Once a worker, before it takes its first request."""
        self.predictor = Predictor(open_lane(find_served()))
        self.books = Books(self.predictor, state_folder(), release_files())
        # A challenger is there before the first request: its clients must not meet the champion after a restart.
        await self.books.take_up.look()
        attach(app, self.predictor, self.books)
        self.books.start()
        app.state.rules = open_rules(self.predictor.lane.served, state_folder(), self.predictor.observer.refused)
        spare_collector()

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Once the worker takes no more requests."""
        await self.predictor.close()
        await self.books.close()
