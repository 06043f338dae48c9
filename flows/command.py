"""The edge: arguments in, one message and an exit code out.

0 done, 1 fault, 2 the user's mistake, 3 a verdict against (contract or gate).
"""

import signal
import threading
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from prefect import Flow
from prefect.client.base import ServerType, determine_server_type
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import MissingResult

from configs.load import settings
from configs.yaml_files import refuse_secrets
from tasks.environment import prepare
from tasks.run import open_run
from vision.edge import AGAINST, DONE, FAULT, MISTAKE, complain, guarded
from vision.errors import UserError

__all__ = [
    "AGAINST",
    "DONE",
    "FAULT",
    "MISTAKE",
    "complain",
    "ended",
    "finish",
    "guarded",
    "main",
    "overrides",
    "sigterm_stops",
]
Options = Callable[[ArgumentParser], None]


def main(
    flow: Flow,
    options: Options = lambda parser: None,
    argv: Sequence[str] | None = None,
    registry: bool = True,
) -> int:
    """Runs the flow in this process. Bad input is refused before Prefect starts anything.

    options: adds the flow's own parameters to the common ones (`--system`, `--set`, `--reason`). registry: False for a
    flow that goes on while the registry is away.
    """
    asked = vars(_parser(flow, options).parse_args(argv))
    verbose, pairs, system = asked.pop("verbose"), asked.pop("set"), asked.pop("system")
    prepare(verbose)
    with sigterm_stops():
        return guarded(lambda: _run(flow, lambda: opened(system, pairs, registry), asked), verbose)


@contextmanager
def sigterm_stops() -> Iterator[None]:
    """SIGTERM ends the work inside as Ctrl-C does. Prefect has the signal while a flow runs, and sends it on after."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_) -> None:
    """What a shell script starts with `&` ignores SIGINT; SIGTERM shall end that too."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def overrides(pairs: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE` strings to a dict. Raises `UserError` for one without `=`."""
    for pair in pairs:
        if "=" not in pair:
            refuse_secrets(pair, "command line", ("--set",))
            raise UserError(f"--set {pair}", "KEY=VALUE, as in training.batch_size=16", "add the value")
    return dict(pair.split("=", 1) for pair in pairs)


def _parser(flow: Flow, options: Options) -> ArgumentParser:
    parser = ArgumentParser(prog=f"python -m flows.{flow.fn.__name__}", description=flow.description)
    add = parser.add_argument
    add("--system", help="a file in configs/, by name or path (default: VISIONOPS_SYSTEM, else quickstart)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="override: training.batch_size=16")
    add("--reason", default="manual", help="why it runs; recorded")
    add("-v", "--verbose", action="store_true", help="show tracebacks")
    options(parser)
    return parser


def opened(system: str | None, pairs: Sequence[str], registry: bool) -> dict[str, Any]:
    """system and overrides as a flow takes them: a wrong config, an unwritable folder, a service that is away are told
    within seconds.
    """
    asked = {"system": system or settings().system, "overrides": overrides(pairs)}
    open_run(**asked, registry=registry)
    return asked


def _run(flow: Flow, asked: Callable[[], dict[str, Any]], more: dict[str, Any]) -> int:
    refuse_secrets(more.get("reason", ""), "command line", ("--reason",))
    return finish(ended(flow, **asked(), **more))


def ended(flow: Flow, **given: Any) -> State:
    """How the flow ended that runs in this process."""
    _start_server()
    return flow(**given, return_state=True)


def _start_server() -> None:
    """Prefect's temporary server, where none is named, out of Ctrl-C's reach: a terminal sends that to all that was started from it, and
    Prefect would ask a server that is gone for minutes. Whoever is started while SIGINT is blocked never gets it."""
    if determine_server_type() != ServerType.EPHEMERAL:
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        get_client(sync_client=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def finish(state: State) -> int:
    """Prints how the flow ended and turns it into an exit code. Raises what the flow raised."""
    if state.name == "ContractFailed":
        return complain(f"the data contract failed\n{state.message}", AGAINST)
    try:
        outcome = state.result(raise_on_failure=True)
    except MissingResult:  # a server too busy to answer in time: what it has of the ended flow is name and message
        outcome = {"text": f"{state.name}: {state.message}"}
    print(outcome["text"] if "text" in outcome else "\n".join(f"{key}: {value}" for key, value in outcome.items()))
    return AGAINST if state.name == "Rejected" else DONE
