"""A folder of images through what ingest, describe and split do with it, without Prefect and Ray."""

from flows.command import DONE, MISTAKE, guarded
from vision.data.config import DataConfig, SplitConfig
from vision.data.manifest import describe_files, list_images
from vision.data.sources import materialise
from vision.data.splits import assign


def take(shelf, out):
    """What `ingest` does with a folder. The images by name, or the exit code and its message."""
    return materialise(DataConfig.model_validate({"source": {"type": "folder", "path": str(shelf)}}), out, None)


def refused(shelf, out, capsys):
    """The message of a folder that ingest refuses, as a mistake of the user."""
    code = guarded(lambda: take(shelf, out) and DONE, verbose=False)
    message = capsys.readouterr().err.partition("error: ")[2].strip()
    assert code == MISTAKE and "allowed:" in message and "to do:" in message and "Traceback" not in message
    return message


def splits_of(shelf, out):
    take(shelf, out)
    return assign(describe_files(out, list_images(out)), SplitConfig())
