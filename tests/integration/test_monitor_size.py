"""A window of 100,000 records: half in a file that still grows, half sealed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.command import DONE
from tests.monitor_stage import DARK, MonitorStage
from vision.records_seal import seal_closed

pytestmark = pytest.mark.system
ROOT = Path(__file__).parents[2]
RECORDS, MOST_S, MOST_MB = 100_000, 30.0, 1000
JUDGE = """
import json, resource, sys, time
from tests.monitor_stage import MonitorStage
from pathlib import Path
began = time.monotonic()
code = MonitorStage(Path(sys.argv[1]), sys.argv[2]).monitor()
seconds, used = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
cpu_s = used.ru_utime + used.ru_stime
print(json.dumps({"code": code, "seconds": seconds, "cpu_s": cpu_s, "mb": used.ru_maxrss / 1024}))
"""


def test_it_is_judged_in_half_a_minute_and_a_gigabyte(tmp_path, tiny, prefect_server):
    from prefect.settings import PREFECT_API_URL

    state = tmp_path / "state"
    stage = MonitorStage(state, tiny()).released()
    stage.served.write(RECORDS // 2, DARK)
    seal_closed(stage.folder / "records")
    stage.served.write(RECORDS // 2, DARK)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("VISIONOPS", "PREFECT_"))}
    env = {**clean, "VISIONOPS_STATE": str(state), "PREFECT_API_URL": PREFECT_API_URL.value(), "PYTHONPATH": str(ROOT)}
    seen = {}
    # The first run of a package measures the monitor's own error rates as well, once; the second is like all that follow.
    for name in ("first", "second"):
        (stage.monitor_folder / "watermark.json").unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-c", JUDGE, state, stage.system], env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        seen[name] = json.loads(done.stdout.splitlines()[-1])
    print(seen)
    assert [one["code"] for one in seen.values()] == [DONE] * 2
    assert stage.verdict(1).records == RECORDS and stage.verdict(1).drift.drifted
    assert seen["second"]["seconds"] < MOST_S and max(one["mb"] for one in seen.values()) < MOST_MB
