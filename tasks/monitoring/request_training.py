"""What the monitor does about what it saw: tells people, asks the governor, and sees to it that a grant is acted upon."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from filelock import FileLock, Timeout
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.data.labels import collect_labels
from tasks.monitoring.alert import alert
from tasks.monitoring.events import has_server, send_request
from tasks.monitoring.governor import Decision
from tasks.monitoring.judge_window import headline
from tasks.monitoring.known_training import governor_of
from tasks.monitoring.state import WindowVerdict
from tasks.monitoring.training_requests import Request
from tasks.run import Run
from vision.data.labels.intake import Labelled
from vision.settings import Section

NEW_LABELS = "new_labels"


class NewLabels(Section):
    """`count`: labelled images that no training that passed has taken in. `sha`: of the store."""

    count: int
    sha: str
    refused: dict[str, int] = {}


@task(name="collect-labels", cache_policy=NO_CACHE, persist_result=False)
def count_labels(run: Run) -> NewLabels:
    """Takes in what people said since, and counts what is new to the model."""
    found: Labelled = collect_labels(run)
    taken = [row.labels for row in governor_of(run).requests() if row.state == "ended" and row.labels is not None]
    return NewLabels(count=max(0, found.images - (taken[-1] if taken else 0)), sha=found.sha, refused=found.refused)


@task(name="act-on-window", cache_policy=NO_CACHE, persist_result=False, tags=["monitoring"])
def act_on(run: Run, verdict: WindowVerdict, labels: NewLabels) -> WindowVerdict:
    """On an alarm: asks for a training where one can help, and tells people either way."""
    cause = verdict.diagnosis.retrain_for if verdict.diagnosis.retrain else verdict.diagnosis.cause
    reason = f"{cause} in window {verdict.no}: {what_a_training_can(labels)}"
    verdict = verdict.model_copy(update={"new_labels": labels.count, "reason": reason})
    if not verdict.alarm:
        return verdict
    if verdict.diagnosis.retrain:
        decision = governor_of(run).ask(reason, verdict.name, datetime.now(UTC))
        verdict = verdict.model_copy(update={"request": decision})
    found = verdict.diagnosis
    why = (f"training {found.training}",) if found.training else ()
    alert(run, headline(verdict), (*found.reasons, f"to do: {found.action}", *why, told(verdict.request)))
    return verdict


@task(name="act-on-labels", cache_policy=NO_CACHE, persist_result=False, tags=["monitoring"])
def act_on_labels(run: Run, labels: NewLabels) -> str:
    """Enough new labels ask for a training of their own. Returns what is to be said of it, or nothing."""
    least = run.config.retraining.min_new_labels
    if labels.count < least:
        return ""
    reason = f"{NEW_LABELS}: {what_a_training_can(labels)}"
    decision = governor_of(run).ask(reason, f"labels-{labels.sha[:12]}", datetime.now(UTC))
    return f"{labels.count} newly labelled images (from {least} on a training is asked for): {told(decision)}"


def what_a_training_can(labels: NewLabels) -> str:
    """Said in the report and in the training's reason."""
    if labels.count:
        return f"{labels.count} newly labelled images are taken in"
    return (
        "no new labels: a training can take in what was added to the source since, but not learn the new conditions; "
        "with nothing added it makes the same model again"
    )


def told(decision: Decision | None) -> str:
    if decision is None:
        return "no training is asked for"
    return f"training {decision.request_no} {'granted' if decision.granted else 'not granted'}: {decision.why}"


@task(name="send-requests", cache_policy=NO_CACHE, persist_result=False, tags=["monitoring"])
def send_requests(run: Run) -> None:
    """Emits the events of granted trainings, also of one that a killed run was granted; nothing without a server.

    One that can't be sent stays to be sent by the next run. One that nobody has acted upon is sent once more.
    """
    if not has_server():
        return
    governor, now = governor_of(run), datetime.now(UTC)
    for request in (*governor.to_send(now), *governor.to_send_again(now)):
        try:
            send_request(request)
        except Exception as error:
            logging.getLogger(__name__).error("the event of training %s could not be sent: %s", request.no, error)
            continue
        governor.sent(request.no, datetime.now(UTC))


@contextmanager
def left_to_train(run: Run) -> Iterator[list[Request]]:
    """Granted trainings that this process has to make itself, because there is no server. Nobody else is handed them
    until the block ends: a training that waits for its turn, or for Ray, is still only granted.
    """
    if has_server():
        yield []
        return
    lock = FileLock(run.folder / "requests.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield []
        return
    try:
        yield governor_of(run).to_send(datetime.now(UTC))
    finally:
        lock.release()
