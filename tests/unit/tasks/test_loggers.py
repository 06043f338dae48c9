import struct
from importlib.util import find_spec

import pytest

from configs.load import load_system
from tasks.loggers import LoggedRun, open_loggers, refuse_absent
from vision.errors import UserError


@pytest.fixture
def run(tmp_path):
    return LoggedRun(folder=tmp_path, system="tiny", name="resnet18_train", id="0123456789abcdef", params={"lr": 0.1})


def events(path):
    """The scalars of a TensorBoard event file: records of length, its checksum, a protobuf, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    data, found = path.read_bytes(), {}
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        event = Event.FromString(data[12 : 12 + length])
        found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
        data = data[16 + length :]
    return found


def test_tensorboard_reads_back_what_each_epoch_told(run):
    with open_loggers(["tensorboard"], run) as log:
        log({"train_loss": 0.5, "val_macro_f1": 0.25}, 1)
        log({"train_loss": 0.25, "val_macro_f1": 0.75}, 2)
    (path,) = (run.folder / "tensorboard" / "resnet18_train_01234567").glob("events.out.tfevents.*")
    assert events(path) == {
        ("train_loss", 1): 0.5, ("val_macro_f1", 1): 0.25, ("train_loss", 2): 0.25, ("val_macro_f1", 2): 0.75,
    }  # fmt: skip


def test_no_logger_writes_nothing(run):
    with open_loggers([], run) as log:
        log({"train_loss": 0.5}, 1)
    assert not list(run.folder.iterdir())


@pytest.mark.skipif(find_spec("wandb") is not None, reason="wandb is installed")
def test_a_logger_that_is_not_installed_is_a_mistake_that_says_what_to_install():
    with pytest.raises(UserError, match="wandb is not installed") as caught:
        refuse_absent(["tensorboard", "wandb"])
    assert ".[wandb]" in caught.value.do and caught.value.allowed.endswith("tensorboard")
    refuse_absent(["tensorboard"])


def test_wandb_writes_an_offline_run(run):
    pytest.importorskip("wandb", reason="an extra of its own")
    with open_loggers(["wandb"], run) as log:
        log({"train_loss": 0.5}, 1)
        log({"train_loss": 0.25}, 2)
    (path,) = run.folder.glob("wandb/offline-run-*/run-0123456789abcdef.wandb")
    assert path.stat().st_size > 0


def test_config_names_each_logger_once_and_knows_which_there_are():
    assert load_system("quickstart", {"tracking.loggers": ["tensorboard"]}).tracking.loggers == ("tensorboard",)
    with pytest.raises(UserError, match="each logger once"):
        load_system("quickstart", {"tracking.loggers": ["tensorboard", "tensorboard"]})
    with pytest.raises(UserError, match="one of tensorboard, wandb"):
        load_system("quickstart", {"tracking.loggers": ["neptune"]})
