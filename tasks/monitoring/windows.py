"""Which records a run of the monitor judges: those of the champion's package that came since the last finished window."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.monitoring.state import Mark, MonitorFolder, WindowRows
from tasks.packaging.champion import fetch_package
from tasks.run import Run
from vision.package import Package, open_package
from vision.records_seal import drop_old, seal_closed
from vision.records_window import Taken, take_window
from vision.release import Release, package_folder, read_release

NO_MODEL = "no model is released yet; make train makes the first"


@dataclass(frozen=True)
class Window:
    """no: its number. folder: where its results lie. table: its rows, columns as `take_window` says; None where there are
    too few of them. said: why, or what was left out.
    """

    no: int
    folder: Path
    release: Release | None
    rows: WindowRows | None
    taken: Taken | None
    said: str

    @property
    def enough(self) -> bool:
        return self.rows is not None

    @property
    def table(self) -> pd.DataFrame:
        return self.taken.table


@task(name="read-window", cache_policy=NO_CACHE, persist_result=False)
def read_window(run: Run) -> Window:
    """The next window; one that a killed run had begun has the same rows again. Moves no watermark."""
    folder, release = MonitorFolder(run), read_release(run.release_file)
    mark = folder.mark()
    no = mark.window + 1
    if release is None:
        return Window(no, folder.window(no), None, None, None, NO_MODEL)
    sha = release.champion.package_sha
    taken = _take(run, mark, folder.rows(no), sha)
    found, least = len(taken.table), run.config.monitor.min_window
    left_out = _left_out(taken)
    if found < least:
        said = f"{found} of {least} records of version {release.champion.version} since window {mark.window}"
        return Window(no, folder.window(no), release, None, taken, said + left_out)
    rows = WindowRows(package_sha=sha, since=mark.watermark, until=taken.until)
    more = "; more records wait for the next run" if taken.more else ""
    return Window(no, folder.begin(no, rows), release, rows, taken, f"{found} records{left_out}{more}")


def _take(run: Run, mark: Mark, begun: WindowRows | None, sha: str) -> Taken:
    same = begun is not None and (begun.package_sha, begun.since) == (sha, mark.watermark)
    records, config = run.state.records(run.config.system), run.config.monitor
    if same:
        taken = take_window(records, mark.watermark, sha, config.max_window, begun.until)
        # Retention may have been faster, or more be asked of a window by now: then it would wait for ever.
        if len(taken.table) >= config.min_window:
            return taken
    return take_window(records, mark.watermark, sha, config.max_window)


def _left_out(taken: Taken) -> str:
    parts = [f"{count} of package {sha[:12]}" for sha, count in sorted(taken.others.items())]
    parts += [f"{taken.shadow} answers given in shadow"] * bool(taken.shadow)
    parts += [f"{taken.table.attrs['unreadable']} lines that are no records"] * bool(taken.table.attrs["unreadable"])
    return f"; left out: {', '.join(parts)}" if parts else ""


def champion_package(run: Run, release: Release) -> Package:
    """Whole, also where only the registry has it. Raises `MachineError` when it is damaged."""
    model = release.champion
    folder = package_folder(run.release_file, model)
    return open_package(
        folder if folder.is_dir() else fetch_package(run, model.version, model.package_sha), model.package_sha
    )


def finish_window(run: Run, window: Window) -> None:
    """The watermark moves: last of all."""
    MonitorFolder(run).set_mark(Mark(window=window.no, watermark=window.rows.until))


@task(name="tidy-records", cache_policy=NO_CACHE, persist_result=False)
def tidy_records(run: Run) -> str:
    """Seals what no process writes any more, drops the days and pages that are over; what was done, in words."""
    MonitorFolder(run).drop_pages(run.config.monitor.kept_reports)
    state, system, keeping = run.state, run.config.system, run.config.serving.keeping
    sealed = seal_closed(state.records(system))
    gone = {
        "records": drop_old(state.records(system), keeping.records_days),
        "failures": drop_old(state.failures(system), keeping.records_days),
        "feedback": drop_old(state.feedback(system), keeping.feedback_days),
        "inbox": drop_old(state.inbox(system), keeping.inbox_days),
    }
    dropped = [f"{len(days)} days of {name}" for name, days in gone.items() if days]
    return "; ".join([f"{len(sealed)} files of records sealed"] * bool(sealed) + dropped)
