"""What a disk does to the service's own commands and files: told once, and nothing that was there is harmed."""

import pytest
from disks import mounted, needs_mounts, needs_read_only, read_only
from prometheus_client import CollectorRegistry

from bentos.access.__main__ import main
from bentos.access.keys import KeyRing
from bentos.inbox import Inbox
from bentos.metrics.names import create, exposition
from vision.edge import DONE, FAULT

KEPT = "the keys that were there still open; no new one is shown"


@pytest.fixture
def keys(tmp_path):
    """A folder for a keys file; not made yet."""
    return tmp_path / "keys"


def create_key(keys) -> int:
    return main(["--file", str(keys / "keys.json"), "create"])


def refused(keys, capfd) -> str:
    """What the command says when it can make no key."""
    assert create_key(keys) == FAULT
    told = capfd.readouterr()
    assert told.out == "" and "Traceback" not in told.err
    assert [path.name for path in keys.iterdir() if path.name.startswith(".")] == [], "nothing half-written"
    return told.err.strip().removeprefix("error: ")


@needs_mounts
def test_a_disk_that_has_no_room_for_a_new_key(keys, capfd, fault):
    with mounted(keys, "size=64k"):
        assert create_key(keys) == DONE
        first = capfd.readouterr().out.strip()
        with pytest.raises(OSError, match="No space"), (keys / "other").open("wb", buffering=0) as other:
            while True:
                other.write(bytes(4096))
        said = refused(keys, capfd)
        assert KeyRing(keys / "keys.json").find(first) is not None
    fault.saw("Machine", "a disk that is full on `python -m bentos.access create`", exit=FAULT, says=said, kept=KEPT)


@needs_read_only
def test_a_keys_file_that_cannot_be_written(keys, capfd, fault):
    with read_only(keys):
        said = refused(keys, capfd)
    said = said.replace("Read-only file system", "Permission denied")  # root meets the first, a user the second
    fault.saw("Machine", "a keys file that can't be written", exit=FAULT, says=said, kept="no key is shown")


def test_more_images_to_keep_than_a_day_may_hold(tmp_path, caplog, fault):
    inbox = Inbox(tmp_path / "inbox", 20_000, create(CollectorRegistry()))
    kept = [inbox.keep(bytes([number]) * 9_000, f"id-{number}", None) for number in range(4)]
    assert kept == [True, True, False, False]
    assert len(list((tmp_path / "inbox").glob("dt=*/*.bin"))) == 2
    [said] = {record.getMessage().split(" for dt=")[0] for record in caplog.records}
    fault.saw(
        "Requests", "keep=true past keeping.inbox_mib of a day", exit="–", says=said,
        kept="the images before; the answer goes out, kept_images_total{result=full} counts",
    )  # fmt: skip


def test_a_status_file_that_is_torn(tmp_path, fault):
    (tmp_path / "monitor").mkdir()
    (tmp_path / "monitor" / "status.json").write_text('{"at": "2026-11-21T08:0')
    text = exposition(tmp_path)[0].decode()
    assert "visionops_state_disk_free_bytes " in text
    assert not [line for line in text.splitlines() if line.startswith("visionops_drift_")]
    fault.saw(
        "Monitor", "monitor/status.json is missing or torn at a scrape of /metrics", exit="–", says="nothing",
        kept="all other metrics; the gauges of drift are left out until the next run",
    )  # fmt: skip
