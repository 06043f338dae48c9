from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError

from tasks import tables
from tasks.tables import make_tables


class Restarting:
    """Metadata of a database that can't be reached for the first `times` calls."""

    def __init__(self, times: int) -> None:
        self.left = times

    def create_all(self, engine) -> None:
        self.left -= 1
        if self.left >= 0:
            raise OperationalError("SELECT 1", {}, Exception("connection refused"))


def engine(dialect: str):
    return SimpleNamespace(dialect=SimpleNamespace(name=dialect))


def test_a_server_that_restarts_is_waited_for_but_not_for_ever(monkeypatch):
    monkeypatch.setattr(tables, "PAUSE_S", 0.001)
    make_tables(engine("postgresql"), Restarting(20))
    monkeypatch.setattr(tables, "AWAY_S", 0.05)
    with pytest.raises(OperationalError):
        make_tables(engine("postgresql"), Restarting(10**6))


def test_a_file_is_tried_a_few_times_at_once():
    make_tables(engine("sqlite"), Restarting(tables.TRIES - 1))
    with pytest.raises(OperationalError):
        make_tables(engine("sqlite"), Restarting(tables.TRIES))
