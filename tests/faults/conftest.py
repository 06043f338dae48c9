"""The `fault` fixture: what a test saw of one fault is held against docs/faults.md, or written there."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fault_page import Row, plain, put, read


class Fault:
    """`saw(...)` once for each fault that the test made and checked itself."""

    def __init__(self, test: str, folders: tuple[str, ...], writing: bool) -> None:
        self._test, self._folders, self._writing, self.rows = test, folders, writing, []

    def saw(self, area: str, given: str, *, exit: int | str, says: str, kept: str, also: tuple[str, ...] = ()) -> None:
        """area: one of fault_page.AREAS. given: the fault in a few words. exit: code, HTTP status or "–".

        says: the message as it was printed, or what the answer says. kept: what the test found left and not left
        behind. also: further folders whose names do not belong on the page.
        """
        folders = (*self._folders, *map(str, also))
        row = Row(area, plain(given), str(exit), plain(says, folders), plain(kept, folders), self._test)
        self.rows.append(row)
        if self._writing:
            put(row)
        known = read().get(row.key)
        assert known == row, f"docs/faults.md says {known}; seen {row}. If that is right: make faults"


@pytest.fixture(scope="package")
def server_of_requests(tmp_path_factory):
    """One server of two workers for all tests of requests."""
    from request_service import PROJECT, Service

    from tasks.packaging.smoke import serving

    service = Service(tmp_path_factory)
    with serving(".", PROJECT, service.log, service.env) as running:
        service.start(running)
        yield service


@pytest.fixture
def service(server_of_requests):
    """After each fault an image is answered as before, by the processes that were there before."""
    yield server_of_requests
    server_of_requests.check_unharmed()


@pytest.fixture
def fault(request, tmp_path):
    root = Path(__file__).resolve().parents[2]
    folders = (str(tmp_path), str(root))
    made = Fault(
        f"{request.path.stem}::{request.function.__name__}", folders, request.config.getoption("--write-faults")
    )
    yield made
    assert made.rows or request.session.testsfailed, "a test with the `fault` fixture says what it saw"


@pytest.fixture(scope="session")
def release_template(tmp_path_factory):
    return tmp_path_factory.mktemp("release") / "state"


@pytest.fixture
def stage(release_template, tmp_path, tiny, monkeypatch):
    """A system in the middle of a canary, see `tests.release_stage`."""
    from tests.release_stage import canary_stage

    config = tiny(release={"shadow_pairs": 60, "canary_answers": 60})
    return canary_stage(config, release_template, tmp_path / "state", monkeypatch)
