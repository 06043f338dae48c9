"""`monitor_drift` killed at each point of a window, while records go on coming; then let through.

    python tests/faults/killed_monitor.py SYSTEM.yaml STATE

Each start is a fork of this process, as in `killed_flow`. Prints one JSON line a start: {point, ended, window, records}.
"""

import importlib
import json
import os
import signal
import sys
from pathlib import Path

from killed_flow import Point, arm

from tests.drawn_records import Served
from tests.monitor_stage import DARK, MonitorStage
from vision.release import read_release

POINTS = {
    "rows chosen, not judged": Point("tasks.monitoring.judge_window:find_drift"),
    "training granted, no verdict": Point("tasks.monitoring.drift_report:write_evidently"),
    "verdict, no watermark": Point("tasks.monitoring.drift_report:finish_window"),
    "watermark, event not sent": Point("tasks.monitoring.request_training:send_request"),
    "event sent, not written down": Point("tasks.monitoring.request_training:send_request", after=True),
}
MORE = 10
"""Records that come between two starts."""


def start(stage, point):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if point:
                arm(POINTS[point])
            code = stage.monitor()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return signal.Signals(-code).name if code < 0 else code


def main(system, state):
    for module in ("flows.monitor_drift", "evidently.presets", "mlflow", "evidently.ui.workspace", "matplotlib.figure"):
        importlib.import_module(module)
    stage = MonitorStage(Path(state), system)
    served = Served(stage.folder, read_release(stage.folder / "release.json").champion)
    for point in [*POINTS, None]:
        ended = start(stage, point)
        rows = stage.monitor_folder / "windows" / "1" / "rows.json"
        print(
            json.dumps({"point": point, "ended": ended, "rows": rows.is_file() and json.loads(rows.read_text())}),
            flush=True,
        )
        served.write(MORE, DARK)


if __name__ == "__main__":
    main(*sys.argv[1:])
