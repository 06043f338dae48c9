"""Asks people for the labels that would help most, and takes in those that they have given."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import Completed, State

from flows.command import main
from tasks.data.label_queue import fill_queue
from tasks.data.queue_labels import take_labels
from tasks.run import open_run


@flow(name="queue-labels", flow_run_name="queue-{system}", persist_result=False)
def queue_labels(
    system: str = "quickstart",
    overrides: dict[str, Any] | None = None,
    reason: str = "schedule",
    take: int | None = None,
    sheet: str | None = None,
) -> State:
    """Takes in the filled sheets of all queues, and the boxes drawn on their images, and makes a new queue; with `take`, only takes
    in those of one queue.

    sheet: a file in place of the queue's own labels.csv, or a COCO file (.json) in place of its _annotations.coco.json.
    """
    run = open_run(system, overrides, reason, registry=False)
    queued = fill_queue(run) if take is None else None
    taken = take_labels(run, take, Path(sheet) if sheet else None)
    text = f"{taken.text}\n{queued.text}" if queued else taken.text
    return Completed(data={"text": text}, message=text)


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--take", type=int, help="only take in the filled labels.csv of this queue")
    parser.add_argument(
        "--sheet",
        help="with --take: a labels.csv from elsewhere, as the queue's page downloads it, or a COCO file (.json) with boxes",
    )


if __name__ == "__main__":
    raise SystemExit(main(queue_labels, options, registry=False))
