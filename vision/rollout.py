"""What comes next for a release: shadow, canary, promotion, rollback, or nothing yet. Pure; at most one step a call."""

from datetime import datetime, timedelta
from typing import Literal, Protocol

from pydantic import AwareDatetime, Field

from vision.monitoring.sequential import Interval
from vision.release import Release
from vision.settings import Section

FAILURES, LATENCY, DISAGREEMENT, UNSURE, ACCURACY, SINCE = (
    "failures", "latency_ratio", "disagreement", "unsure_rise", "accuracy_loss", "accuracy_loss_since",
)  # fmt: skip


class Limits(Protocol):
    """`configs.releasing.ReleaseConfig` says what each is."""

    automatic: bool
    shadow_pairs: int
    canary_share: float
    canary_answers: int
    error_level: float
    max_disagreement: float
    disagreement_labels: int
    max_failures: float
    max_latency_ratio: float
    max_unsure_rise: float
    accuracy_margin: float
    max_days: float


class Measure(Section):
    """One comparison of challenger and champion; the higher, the worse for the challenger.

    failures: share of images that the challenger could not answer. latency_ratio: time to compute an image. disagreement:
    share of images that are answered otherwise (another label; where boxes are found, other ones). unsure_rise: how much
    larger the share of answers that are not confident is. accuracy_loss: how much lower the accuracy on labelled answers is.
    accuracy_loss_since: that of a new champion since it answers alone, below that of the one before until then.
    """

    name: str
    found: Interval
    limit: float

    @property
    def against(self) -> bool:
        """Is it known, at all looks together, that the limit is passed?"""
        return self.found.count > 0 and self.found.low > self.limit

    @property
    def shown_within(self) -> bool:
        """Is it known, at all looks together, that the limit is kept?"""
        return self.found.count > 0 and self.found.high <= self.limit

    def __str__(self) -> str:
        found = self.found
        if found.value is None:
            return f"{self.name}: nothing to compare yet (limit {self.limit:g})"
        within = "over" if self.against else "within" if self.shown_within else "not shown to be over"
        bounds = f"{found.low:.3g} to {found.high:.3g}, {found.count} compared"
        return f"{self.name} {found.value:.3g} ({bounds}) is {within} {self.limit:g}"


class Evidence(Section):
    """What the records, failures and labels of one release say. Computed anew from the files at each step."""

    release_no: int
    answers: int = Field(default=0, ge=0)
    """Of the challenger; in shadow they were never returned."""
    champion_answers: int = Field(default=0, ge=0)
    pairs: int = Field(default=0, ge=0)
    """Images that both have answered."""
    failures: int = Field(default=0, ge=0)
    labels: int = Field(default=0, ge=0)
    """Labelled answers that the accuracy rests on."""
    clients: int = Field(default=0, ge=0)
    """That the challenger has answered, where clients are told apart."""
    refused: str | None = None
    """Why the service does not load the challenger, where it has not answered since."""
    first_at: AwareDatetime | None = None
    last_at: AwareDatetime | None = None
    """Of the answers, by the service's clock."""
    measures: tuple[Measure, ...] = ()

    def measure(self, name: str) -> Measure | None:
        return next((measure for measure in self.measures if measure.name == name), None)


class Step(Section):
    """to: where the release goes; `rollback` in mode single means: back to the champion before."""

    to: Literal["stay", "shadow", "canary", "promote", "rollback"]
    reasons: tuple[str, ...]


def next_step(release: Release, evidence: Evidence, config: Limits, now: datetime, waiting: int | None = None) -> Step:
    """waiting: a version with the alias challenger that no release has yet.

    The clock alone never decides: before `max_days` count, the answers themselves must lie as far apart.
    """
    if release.challenger is None:
        return _champion_alone(evidence, config, waiting)
    against = _against(release, evidence, config)
    if against:
        return Step(to="rollback", reasons=against)
    obstacles = _obstacles(release, evidence, config)
    if not obstacles:
        to = "canary" if release.mode == "shadow" else "promote"
        return _if_automatic(to, (_progress(release, evidence, config), *map(str, evidence.measures)), config)
    days = _days(release, evidence, now)
    if days > config.max_days:
        late = f"not proven in time: {days:.1f} days are over {config.max_days:g}"
        return Step(to="rollback", reasons=(late, *obstacles))
    return Step(to="stay", reasons=obstacles)


def _champion_alone(evidence: Evidence, config: Limits, waiting: int | None) -> Step:
    """A new champion is held to the one before, as long as the evidence has a measure of that.

    Answers of two times may differ because the images do. So they take nobody back whom labels of the same time show
    to be as good as the one before.
    """
    same, since = evidence.measure(ACCURACY), evidence.measure(SINCE)
    excused = bool(since and since.against and same and same.shown_within)
    against = tuple(f"the new champion disappoints: {measure}" for measure in evidence.measures if measure.against)
    if against and not excused:
        return Step(to="rollback", reasons=against)
    if waiting is None:
        why = "the images have changed, not the model: what to do is the monitor's to say" if excused else ""
        return Step(to="stay", reasons=tuple(filter(None, ("no challenger waits", why, *map(str, evidence.measures)))))
    return _if_automatic("shadow", (f"version {waiting} has passed its gate and waits",), config)


def _if_automatic(to: str, reasons: tuple[str, ...], config: Limits) -> Step:
    if config.automatic:
        return Step(to=to, reasons=reasons)
    return Step(to="stay", reasons=(f"ready for {to}, waits for a person: release.automatic is false", *reasons))


def _against(release: Release, evidence: Evidence, config: Limits) -> tuple[str, ...]:
    """What speaks for taking the challenger back at once."""
    if evidence.refused is not None:
        return (f"the service refuses version {release.challenger.version}: {evidence.refused}",)
    doubts, accuracy = _doubts(evidence), evidence.measure(ACCURACY)
    against = tuple(str(measure) for measure in evidence.measures if measure.against and measure not in doubts)
    if against or not doubts or not _lost(accuracy, config):
        return against
    return *map(str, doubts), f"labels don't side with the challenger: {accuracy}"


def _doubts(evidence: Evidence) -> list[Measure]:
    """Against the challenger, unless labels show that it is right more often. A retrained model shall answer otherwise where the
    old one was wrong; and where that one was wrong and sure of it, being less sure is no fault. Without any label it is one."""
    split, unsure, accuracy = (evidence.measure(name) for name in (DISAGREEMENT, UNSURE, ACCURACY))
    labelled = accuracy is not None and accuracy.found.count > 0
    return [one for one in (split, unsure if labelled else None) if one is not None and one.against]


def _obstacles(release: Release, evidence: Evidence, config: Limits) -> tuple[str, ...]:
    """What a forward step still waits for."""
    found = []
    have, need = _counts(release, evidence, config)
    if have < need:
        found.append(_progress(release, evidence, config))
    accuracy = evidence.measure(ACCURACY)
    labels = accuracy.found.count if accuracy else 0
    few = f"{labels} of {config.disagreement_labels} pairs have one"
    decide = few if labels < config.disagreement_labels else accuracy
    doubts = () if _better(accuracy) else _doubts(evidence)
    return *found, *(f"{doubt}: labels decide, {decide}" for doubt in doubts)


def _better(accuracy: Measure | None) -> bool:
    """Do labels show that the challenger is right more often? Those of pairs that differ say most, alike ones nothing."""
    return accuracy is not None and accuracy.found.count > 0 and accuracy.found.high < 0


def _lost(accuracy: Measure | None, config: Limits) -> bool:
    """Was it right no more often on labels enough? One that was waits for more: to prove even 30 points takes 100 of them."""
    return accuracy is not None and accuracy.found.count >= config.disagreement_labels and accuracy.found.value >= 0


def _progress(release: Release, evidence: Evidence, config: Limits) -> str:
    have, need = _counts(release, evidence, config)
    what = "pairs in shadow" if release.mode == "shadow" else "answers of the canary"
    return f"version {release.challenger.version} has {have} of {need} {what}"


def _counts(release: Release, evidence: Evidence, config: Limits) -> tuple[int, int]:
    if release.mode == "shadow":
        return evidence.pairs, config.shadow_pairs
    return evidence.answers, config.canary_answers


def _days(release: Release, evidence: Evidence, now: datetime) -> float:
    """For how long the release has been tried: by our clock and by the service's, whichever says less."""
    if evidence.first_at is None:
        return 0.0
    return min(now - release.at, evidence.last_at - evidence.first_at) / timedelta(days=1)
