"""What happened during `run_loop`: chapters as they end, goals with what was seen, and the page with its plots."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tasks.loop.traffic import Sent
from vision.evaluation.report import Figure, Picture, RunReport, Table, write_report
from vision.evaluation.style import BLUE, GREY, INK, ORANGE, RIGHT, WRONG, label_axes, new_figure, save
from vision.verdict import Verdict

BIN_S = 20.0
FEW = 8
"""Answers below which a bin's accuracy is not drawn."""
COLOURS = (BLUE, ORANGE, RIGHT, WRONG)


@dataclass
class Chapter:
    """start_s, end_s: since the story began."""

    title: str
    start_s: float
    end_s: float = 0.0
    lines: list[str] = field(default_factory=list)

    def tell(self, line: str) -> None:
        self.lines.append(line)
        print(f"    {line}", flush=True)


@dataclass(frozen=True)
class Goal:
    name: str
    seen: str
    reached: bool


class Story:
    def __init__(self, title: str) -> None:
        self.title, self.began_s = title, time.monotonic()
        self.chapters: list[Chapter] = []
        self.goals: list[Goal] = []
        self.figures: list[Figure] = []
        self.moments: list[tuple[float, str]] = []
        self.windows: list[tuple[float, float, bool]] = []
        """Seconds, corrected p-value and whether it counted as drifted, of each window that was judged."""

    def now_s(self) -> float:
        return time.monotonic() - self.began_s

    @contextmanager
    def chapter(self, title: str) -> Iterator[Chapter]:
        """Prints as it goes. A chapter that raises keeps what it had told, and is a goal that was missed."""
        chapter = Chapter(title, self.now_s())
        self.chapters.append(chapter)
        print(f"\n[{_clock(chapter.start_s)}] {title}", flush=True)
        try:
            yield chapter
        except BaseException as error:
            self.goal(f"{title}: came to its end", f"{type(error).__name__}: {str(error).splitlines()[0]}", False)
            raise
        finally:
            chapter.end_s = self.now_s()

    def moment(self, name: str) -> float:
        """Marks now on the plot; returns the seconds since the story began."""
        self.moments.append((self.now_s(), name))
        return self.moments[-1][0]

    def goal(self, name: str, seen: str, reached: bool) -> None:
        self.goals.append(Goal(name, seen, bool(reached)))
        print(f"    {'reached' if reached else 'MISSED'}: {name}: {seen}", flush=True)

    def figure(self, name: str, value: str, meaning: str = "") -> None:
        self.figures.append(Figure(name=name, value=value, meaning=meaning))

    def write(self, folder: Path, sent: Sequence[Sent], links: dict[str, str], passport: dict[str, str]) -> Path:
        """The page, report.html in `folder`."""
        missed = tuple(f"{goal.name}: {goal.seen}" for goal in self.goals if not goal.reached)
        pictures = [Picture(path=draw_traffic(self, sent, folder / "traffic.png"), caption=TRAFFIC_CAPTION)]
        if self.windows:
            pictures.append(Picture(path=draw_windows(self, folder / "windows.png"), caption=WINDOWS_CAPTION))
        report = RunReport(
            title=self.title,
            summary=f"The whole loop in {_clock(self.now_s())} minutes: {len(sent):,} requests, real servers, drawn leaves.",
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            verdict=Verdict(passed=not missed, reasons=missed or tuple(f"{g.name}: {g.seen}" for g in self.goals)),
            verdict_words=("The loop closed", "The loop did not close"),
            figures=tuple(self.figures),
            tables=(self._table(),),
            pictures=tuple(pictures),
            links=links,
            lineage=passport,
        )
        return write_report(report, folder)

    def _table(self) -> Table:
        rows = [
            (
                _clock(chapter.start_s),
                f"{chapter.end_s - chapter.start_s:.0f} s",
                chapter.title,
                "; ".join(chapter.lines),
            )
            for chapter in self.chapters
        ]
        return Table(title="What happened", columns=("at", "took", "chapter", "what was seen"), rows=tuple(rows))


TRAFFIC_CAPTION = (
    f"Share of right answers in bins of {BIN_S:.0f} s, a line for each model version that answered; "
    "grey: clients whose pictures came from the drifted scene"
)
WINDOWS_CAPTION = "Each window that the monitor judged: corrected p-value, filled where it counted as drifted"


def draw_traffic(story: Story, sent: Sequence[Sent], path: Path) -> Path:
    figure = new_figure(11, 4.6)
    axes = figure.subplots()
    answered = [one for one in sent if one.version is not None]
    start = np.array([one.at_s - story.began_s for one in answered]) / 60
    scenes = np.array([one.scene for one in answered])
    first = scenes[0] if len(scenes) else ""
    for low, high in _spans(start, scenes != first):
        axes.axvspan(low, high, color=GREY, alpha=0.15, linewidth=0)
    for number, version in enumerate(sorted({one.version for one in answered})):
        mask = np.array([one.version == version for one in answered])
        x, y = _binned(start[mask], np.array([one.right for one in answered])[mask])
        axes.plot(x, y, marker="o", markersize=3, color=COLOURS[number % len(COLOURS)], label=f"version {version}")
    for at_s, name in story.moments:
        axes.axvline(at_s / 60, color=INK, linewidth=0.8, linestyle=":")
        axes.text(at_s / 60, 0.02, name, rotation=90, fontsize=8, color=INK, ha="right", va="bottom")
    label_axes(axes, "Answers that were right, through the loop", "minutes", "share right")
    axes.set_ylim(0, 1.02)
    axes.legend(loc="lower left", frameon=False, fontsize=9)
    return save(figure, path)


def draw_windows(story: Story, path: Path) -> Path:
    figure = new_figure(11, 2.6)
    axes = figure.subplots()
    for at_s, p_value, drifted in story.windows:
        fill = WRONG if drifted else "white"
        axes.plot(at_s / 60, max(p_value, 1e-4), marker="o", markersize=8, color=WRONG if drifted else BLUE, mfc=fill)
    axes.set_yscale("log")
    label_axes(axes, "Drift, window by window", "minutes", "p-value")
    return save(figure, path)


def _binned(minutes: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middle, in minutes, and mean of each bin that has enough."""
    bins = (minutes * 60 // BIN_S).astype(int)
    kept = [number for number in np.unique(bins) if (bins == number).sum() >= FEW]
    middles = np.array([(number + 0.5) * BIN_S / 60 for number in kept])
    return middles, np.array([right[bins == number].mean() for number in kept])


def _spans(minutes: np.ndarray, mask: np.ndarray) -> list[tuple[float, float]]:
    """First and last of each unbroken stretch of `mask`, in the order of sending."""
    order = np.argsort(minutes, kind="stable")
    minutes, mask = minutes[order], mask[order]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return [(minutes[low], minutes[high - 1]) for low, high in zip(edges[::2], edges[1::2], strict=True)]


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60):d}:{int(seconds % 60):02d}"
