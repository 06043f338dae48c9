import logging

import pytest

from tasks.environment import FILTER, prepare
from vision.errors import UserError

NAMES = ("prefect.flow_runs", "prefect.task_runs", "prefect.engine")


@pytest.fixture(autouse=True)
def quiet_again():
    yield
    FILTER.off = False


def reported(error):
    """A record of it, as a library's `logger.exception` makes one, after the filter."""
    try:
        raise error
    except Exception:
        import sys

        record = logging.LogRecord(
            "prefect.task_runs", logging.ERROR, __file__, 1, "failed: %r", (error,), sys.exc_info()
        )
    assert FILTER.filter(record)
    return logging.Formatter().format(record)


def test_a_users_mistake_is_logged_as_its_message_alone():
    prepare(verbose=False)
    assert reported(UserError("lr = -1", "more than 0", "raise it")) == str(
        UserError("lr = -1", "more than 0", "raise it")
    )


def test_a_fault_keeps_its_traceback():
    prepare(verbose=False)
    assert "Traceback" in reported(RuntimeError("disk gone"))


def test_verbose_holds_when_the_flow_prepares_again():
    prepare(verbose=True)
    prepare()
    assert "Traceback" in reported(UserError("lr = -1", "more than 0", "raise it"))


def test_preparing_twice_adds_one_filter():
    prepare()
    prepare()
    assert [logging.getLogger(name).filters.count(FILTER) for name in NAMES] == [1, 1, 1]
