"""What was served since the last run beside what the model was tested on: a verdict, its cause, and what to do about it."""

from typing import Any

from prefect import flow
from prefect.states import Completed, State

from flows.command import main
from flows.train_model import train_model
from tasks.monitoring.drift_report import publish_window
from tasks.monitoring.end import ended, trained, waiting
from tasks.monitoring.judge_window import judge_window
from tasks.monitoring.request_training import act_on, act_on_labels, count_labels, left_to_train, send_requests
from tasks.monitoring.score_estimates import score_estimates
from tasks.monitoring.windows import read_window, tidy_records
from tasks.run import open_run


@flow(name="monitor-drift", flow_run_name="monitor-{system}", persist_result=False)
def monitor_drift(
    system: str = "quickstart", overrides: dict[str, Any] | None = None, reason: str = "schedule"
) -> State:
    """Judges the records since the last window. Ends Completed as Waiting (too few), Quiet, Changed or Alarm.

    An alarm asks for a training where one can help; with no Prefect server it runs here and now.
    """
    run = open_run(system, overrides, reason, registry=False)
    with run.single_flight("monitor"):
        window, labels, scored = read_window(run), count_labels(run), score_estimates(run)
        if window.enough:
            verdict = act_on(run, judge_window(run, window), labels)
            outcome = publish_window(run, window, verdict)
        else:
            outcome = waiting(run, window)
        outcome = ended(outcome, *scored, act_on_labels(run, labels))
        send_requests(run)
        outcome = ended(outcome, tidy_records(run))
    with left_to_train(run) as requests:
        for request in requests:
            state = train_model(system, overrides, request.reason, request.window, return_state=True)
            outcome = trained(outcome, request, state)
    return Completed(name=outcome["state"], data=outcome, message=outcome["text"].splitlines()[0])


if __name__ == "__main__":
    raise SystemExit(main(monitor_drift, registry=False))
