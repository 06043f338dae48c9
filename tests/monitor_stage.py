"""A system whose model, release and records are drawn, and the monitor run on it as a command does."""

import json
from datetime import UTC, datetime

from configs.retraining import RetrainingConfig
from flows.command import main
from flows.monitor_drift import monitor_drift
from tasks.monitoring.governor import Governor
from tasks.monitoring.state import Mark, WindowVerdict
from tests.drawn_records import Served, draw_rows, release, write_package

QUICK = {
    "monitor": {"min_window": 100, "alpha": 0.01, "permutations": 199, "null_windows": 20},
    "retraining": {"cool_down_h": 24, "min_new_labels": 5},
}
DARK = {"brightness": -1.5, "contrast": -1.0, "confidence": -2.0}
"""What a covariate shift that costs accuracy looks like, in standard deviations."""


class MonitorStage:
    """state: the state folder, which VISIONOPS_STATE names. system: path of the YAML of a system `tiny`."""

    def __init__(self, state, system):
        self.state, self.system, self.folder = state, str(system), state / "systems" / "tiny"
        self.url, self.began = f"sqlite:///{state / 'state.db'}", datetime.now(UTC)
        self.folder.mkdir(parents=True, exist_ok=True)

    def released(self):
        self.reference = draw_rows(250)
        self.model = release(self.folder, write_package(self.folder, self.reference))
        self.served = Served(self.folder, self.model)
        return self

    def monitor(self, *pairs):
        """The exit code."""
        argv = ["--system", self.system]
        for pair in pairs:
            argv += ["--set", pair]
        return main(monitor_drift, argv=argv, registry=False)

    @property
    def monitor_folder(self):
        return self.folder / "monitor"

    def verdict(self, no):
        return WindowVerdict.model_validate_json(
            (self.monitor_folder / "windows" / str(no) / "verdict.json").read_text()
        )

    def mark(self):
        path = self.monitor_folder / "watermark.json"
        return Mark.model_validate_json(path.read_text()) if path.is_file() else Mark()

    def status(self):
        return json.loads((self.monitor_folder / "status.json").read_text())

    def requests(self):
        return Governor(self.url, "tiny", RetrainingConfig()).requests()
