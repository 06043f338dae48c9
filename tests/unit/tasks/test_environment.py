import errno
import logging

import pytest

from tasks.environment import FILTER, prepare
from vision.errors import UserError

NAMES = ("prefect.flow_runs", "prefect.task_runs", "prefect.engine")


@pytest.fixture(autouse=True)
def quiet_again():
    FILTER.off = FILTER.at_edge = False
    yield
    FILTER.off = FILTER.at_edge = False


def reported(error):
    """What the log shows of it when a library calls `logger.exception`; None when the filter drops it."""
    try:
        raise error
    except Exception:
        import sys

        record = logging.LogRecord(
            "prefect.task_runs", logging.ERROR, __file__, 1, "failed: %r", (error,), sys.exc_info()
        )
    return logging.Formatter().format(record) if FILTER.filter(record) else None


def mistake():
    return UserError("lr = -1", "more than 0", "raise it")


def test_a_users_mistake_is_logged_once_as_its_message_alone():
    prepare()
    error = mistake()
    assert reported(error) == str(error)
    assert reported(error) is None
    assert reported(mistake()) == str(error)


def test_a_command_tells_of_a_mistake_itself():
    prepare(verbose=False)
    assert reported(mistake()) is None


def test_the_state_that_a_mistake_ends_in_does_not_repeat_it():
    text = "Finished in state Failed('Flow run encountered an exception: UserError: lr = -1')"
    record = logging.LogRecord("prefect.flow_runs", logging.ERROR, __file__, 1, text, (), None)
    assert FILTER.filter(record) and record.getMessage() == "Finished in state Failed"


def test_a_fault_keeps_its_traceback_in_the_log_of_a_deployment():
    prepare()
    assert "Traceback" in reported(RuntimeError("disk gone"))


def test_a_command_tells_of_a_fault_itself():
    prepare(verbose=False)
    assert reported(RuntimeError("disk gone")) is None


def test_a_full_disk_is_logged_as_its_message_alone():
    prepare()
    told = reported(OSError(errno.ENOSPC, "No space left on device", "/disk/file"))
    assert "no space left on the disk of /disk/file" in told and "Traceback" not in told


def test_verbose_holds_when_the_flow_prepares_again():
    prepare(verbose=True)
    prepare()
    assert "Traceback" in reported(mistake())


def test_preparing_twice_adds_one_filter():
    prepare()
    prepare()
    assert [logging.getLogger(name).filters.count(FILTER) for name in NAMES] == [1, 1, 1]
