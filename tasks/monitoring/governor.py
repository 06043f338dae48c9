"""Lets few trainings start by themselves: single flight, cool-down, budget and a lease, in `state.db`.

A grant is written in the same transaction as a compare-and-set on the system's own row (`tasks/monitoring/training_requests.py`):
of any number of alarms at once, on however many machines, one is granted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from configs.retraining import RetrainingConfig
from tasks.monitoring.training_requests import (
    OPEN,
    TEXT_CHARS,
    Request,
    State,
    add_request,
    change_request,
    fitted,
    forget_clock,
    forget_old,
    in_turn,
    requests_of,
    transaction,
)
from vision.settings import Section

HOUR_S, DAY_S = 3600.0, 86400.0
HISTORY = 4
"""Budget periods for which requests are remembered,"""
MADE = 100
"""and of those that were granted or made by hand at least so many."""
GRANTED = "within cool-down and budget"
MADE_STATES: tuple[State, ...] = ("ended", "rejected")
AGAIN = "its event was sent again"
RESEND_S = 45 * 60
"""Longer than Prefect knows an event again (30 minutes)."""
TRIED = (
    "{window} has been trained for by training {no}, whose data or model did not pass: the same would come out again"
)


class Decision(Section):
    """request_no: of the row in `training_requests`; a refusal has one too."""

    granted: bool
    request_no: int
    why: str


@dataclass(frozen=True)
class Governor:
    """Of one system. url: SQLAlchemy's."""

    url: str
    system: str
    config: RetrainingConfig

    def ask(self, reason: str, window: str, now: datetime) -> Decision:
        """The decision on a training for `window`. Asked again for it (after a kill), a grant is the same grant; what was
        refused, or granted and failed or not heard of in its lease, is weighed anew. What was trained for and did not pass
        is not tried again.
        """
        window = fitted(window)

        def turn(connection: Connection, clock: float) -> Decision:
            self._forget(connection, clock)
            known = requests_of(connection, self.system)
            last = next((request for request in reversed(known) if request.window == window), None)
            dead = last is not None and last.state in OPEN and last.lease_until <= clock
            if dead:
                change_request(connection, last.no, state="lost", ended_at=last.lease_until)
            elif last and last.state in (*OPEN, "ended"):
                return Decision(granted=True, request_no=last.no, why=last.why)
            if last and last.state == "rejected":
                return Decision(granted=False, request_no=last.no, why=TRIED.format(window=window, no=last.no))
            why_not = refusal(known, self.config, clock, now.timestamp())
            said = {"state": "refused" if why_not else "granted", "why": why_not or GRANTED}
            row = self._row(reason, window, clock) | {"automatic": True} | said
            if last and last.state == "refused":
                change_request(connection, last.no, **row)
            no = last.no if last and last.state == "refused" else add_request(connection, row)
            return Decision(granted=why_not is None, request_no=no, why=said["why"])

        return in_turn(self.url, self.system, now.timestamp(), turn)

    def started(self, reason: str, window: str | None, labels: int, now: datetime) -> int:
        """A training begins, by request or by hand; returns the request's number. Never refuses.

        The caller holds the system's training lock, so whatever else is written down as training is dead.
        labels: how many labelled images it takes in.
        """
        window = fitted(window)

        def turn(connection: Connection, clock: float) -> int:
            self._forget(connection, clock)
            known = requests_of(connection, self.system)
            mine = next((one for one in reversed(known) if window is not None and one.window == window), None)
            for request in known:
                if request.state == "training" and request is not mine:
                    change_request(connection, request.no, state="lost", ended_at=clock)
            running = {"state": "training", "labels": labels, "lease_until": self._lease(clock), "ended_at": None}
            if mine is None:
                by_hand = {"automatic": False, "why": "not asked for: started by hand or by schedule"}
                return add_request(connection, self._row(reason, window, clock) | by_hand | running)
            change_request(connection, mine.no, **running)
            return mine.no

        return in_turn(self.url, self.system, now.timestamp(), turn)

    def ended(self, no: int, now: datetime, state: State = "ended") -> None:
        def turn(connection: Connection, clock: float) -> None:
            change_request(connection, no, state=state, ended_at=clock)
            if not next(request for request in requests_of(connection, self.system) if request.no == no).automatic:
                # The way out where a clock had been ahead: a person has trained, so time counts from here.
                forget_clock(connection, self.system, now.timestamp())

        in_turn(self.url, self.system, now.timestamp(), turn)

    def renew(self, no: int, now: datetime) -> None:
        """The training lives."""

        def turn(connection: Connection, clock: float) -> None:
            change_request(connection, no, lease_until=self._lease(clock))

        in_turn(self.url, self.system, now.timestamp(), turn)

    def sent(self, no: int, now: datetime) -> None:
        """The event of a granted request is out. One that has begun meanwhile stays begun."""

        def turn(connection: Connection, clock: float) -> None:
            found = next(request for request in requests_of(connection, self.system) if request.no == no)
            if found.state == "granted":
                change_request(connection, no, state="sent", lease_until=self._lease(clock))
            elif found.state == "sent":
                change_request(connection, no, why=f"{found.why}; {AGAIN}")

        in_turn(self.url, self.system, now.timestamp(), turn)

    def to_send(self, now: datetime) -> list[Request]:
        """Granted requests that nobody was told of yet: the process that asked may have been killed."""
        rows = self.requests()
        return [row for row in rows if row.state == "granted" and row.lease_until > now.timestamp()]

    def to_send_again(self, now: datetime) -> list[Request]:
        """Requests whose event is out and of which nobody has begun the training: a server that was stopped just then, or
        did not know its trigger yet, has lost it. Once each.
        """
        late = now.timestamp() + self.config.lease_h * HOUR_S - RESEND_S
        return [
            row for row in self.requests()
            if row.state == "sent" and now.timestamp() < row.lease_until < late and AGAIN not in row.why
        ]  # fmt: skip

    def made(self, window: str | None) -> Request | None:
        """The request that a training for this window was made for, to its end; its event has come twice."""
        known = [row for row in self.requests() if window is not None and row.window == fitted(window)]
        return known[-1] if known and known[-1].automatic and known[-1].state in MADE_STATES else None

    def requests(self) -> list[Request]:
        """All there were, oldest first."""
        return transaction(self.url, lambda connection: requests_of(connection, self.system))

    def _forget(self, connection: Connection, clock: float) -> None:
        """The clock may have been ahead: then the latest grants are still there, and with them cool-down and budget."""
        days, made = max(HISTORY * self.config.budget_days, self.config.cool_down_h / 24), max(MADE, self.config.budget)
        forget_old(connection, self.system, clock - days * DAY_S, made)

    def _lease(self, clock: float) -> float:
        return clock + self.config.lease_h * HOUR_S

    def _row(self, reason: str, window: str | None, clock: float) -> dict:
        lease = self._lease(clock)
        return {
            "system": self.system, "at": clock, "reason": reason[:TEXT_CHARS], "window": window, "lease_until": lease
        }  # fmt: skip


def refusal(known: Sequence[Request], config: RetrainingConfig, clock: float, now: float) -> str | None:
    """Why no training may start by itself now; None when one may. clock: the latest time seen, `now` or later."""
    if not config.enabled:
        return "retraining.enabled is false"
    for request in known:
        if request.state in OPEN and request.lease_until > clock:
            whose = "asked for" if request.automatic else "by hand"
            return f"training {request.no} ({whose}) is {request.state}"
    granted = [request for request in known if request.automatic and request.state != "refused"]
    ends = [min(clock, request.ended_at or request.lease_until) for request in granted]
    left_h = (max(ends, default=-DAY_S * 36500) + config.cool_down_h * HOUR_S - clock) / HOUR_S
    if left_h > 0:
        return f"cool-down: {left_h:.1f} h left of {config.cool_down_h:g} h{_behind(clock, now)}"
    spent = sum(request.at > clock - config.budget_days * DAY_S for request in granted)
    if spent >= config.budget:
        days = f"{spent} of {config.budget} automatic trainings in {config.budget_days:g} days"
        return f"budget: {days}{_behind(clock, now)}"
    return None


def _behind(clock: float, now: float) -> str:
    hours = (clock - now) / HOUR_S
    return f"; the clock is {hours:.1f} h behind what was seen before" if hours > 0.1 else ""
