"""What stands in Evidently's workspace, whatever became of the runs before."""

import json

import pandas as pd
import pytest

from tasks.monitoring.evidently_report import INDEX, Workspace, _add_to_workspace

pytestmark = pytest.mark.slow  # Evidently takes its time to be imported.


def test_a_snapshot_that_a_killed_run_had_deleted_keeps_no_later_window_out_of_the_workspace(tmp_path):
    from evidently import Report
    from evidently.metrics import RowCount

    place, snapshot = Workspace(tmp_path, "tiny", 1), Report([RowCount()]).run(pd.DataFrame({"a": [1, 2]}))

    def added(name):
        _add_to_workspace(snapshot, place, name)
        return list(json.loads((tmp_path / INDEX).read_text()))

    assert [added("window 1"), added("window 2")] == [["window 1"], ["window 1", "window 2"]]
    assert added("window 1") == ["window 2", "window 1"], "the watermark was removed"
    for kept in tmp_path.glob("*/snapshots/*.json"):
        kept.unlink()
    assert added("window 3") == ["window 1", "window 3"]
