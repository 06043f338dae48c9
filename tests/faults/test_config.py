"""A config that can't work is refused before anything runs: exit 2, one message, no state folder."""

import json
import os
import re
from importlib.util import find_spec

import pytest
from commands import train

from configs.load import known_systems
from flows.command import MISTAKE

NOTHING = "nothing ran; no state folder was made"
SECRET = "hunter2hunter2"
LONG_LIST = re.compile(r"((?:\b\w+, ){2}\w+)(?:, \w+){2,}")
"""Of names: the page need not change with each new one."""
STAGE = {"name": "all", "epochs": 1, "trainable": "all", "lr": 1.0e-3}
TRAINING = {"batch_size": 8, "precision": "float32", "stages": [STAGE], "stages_from_scratch": [STAGE]}


@pytest.fixture
def state(tmp_path, monkeypatch):
    """Not made yet. Only this test's variables count."""
    for name in [name for name in os.environ if name.startswith("VISIONOPS")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "state"
    monkeypatch.setenv("VISIONOPS_STATE", str(folder))
    return folder


@pytest.fixture
def refused(state, capfd, fault):
    """`refused(given, system, *pairs)`: runs the command, checks that it was refused, writes the row; the message."""

    def run(given, system, *pairs, more=(), kept=NOTHING):
        said = train(capfd, system, *pairs, more=more)
        assert said.code == MISTAKE and not state.exists()
        assert "allowed:" in said.message and "to do:" in said.message
        assert not said.out
        says = said.message.replace(", ".join(known_systems()), "…")
        fault.saw("Config", given, exit=said.code, says=LONG_LIST.sub(r"\1, …", says), kept=kept)
        return said.message

    return run


def test_a_value_of_the_wrong_type_is_named_with_its_file_and_place(tiny, refused):
    path = tiny(training={**TRAINING, "batch_size": "many"})
    said = refused("a word where a number belongs", path)
    assert "tiny.yaml: training.batch_size = 'many'" in said and "a whole number, at least 2" in said


def test_an_unknown_key_is_answered_with_the_nearest_known_one(tiny, refused):
    said = refused("an unknown key", tiny(), "training.batch_sise=8")
    assert "training.batch_sise" in said and "did you mean `batch_size`?" in said


def test_several_mistakes_are_told_at_once(tiny, refused):
    said = refused("three mistakes in one file", tiny(model={"arch": "resnet19", "dropout": 2}, kind="clasify"))
    assert "3 mistakes" in said and "resnet18" in said and "model.dropout = 2" in said


def test_weights_of_a_pretraining_that_the_config_does_not_describe(tiny, refused):
    said = refused("`weights: simclr` without a section `pretraining`", tiny(), "model.weights=simclr")
    assert "a section `pretraining` goes with model.weights simclr" in said


@pytest.mark.skipif(find_spec("wandb") is not None, reason="wandb is installed")
def test_a_logger_that_is_not_installed(tiny, refused):
    said = refused("a logger that is not installed", tiny(), "tracking.loggers=[tensorboard, wandb]")
    assert "wandb is not installed" in said and ".[wandb]" in said


@pytest.mark.parametrize(
    ("given", "name"), [("a system that is not there", "tomato_leef"), ("a file that is not there", "conf/mine.yaml")]
)
def test_a_system_that_is_not_there_is_told_with_those_that_are(given, name, refused):
    said = refused(given, name)
    assert "quickstart" in said


def test_a_base_file_that_is_not_there_names_the_file_that_extends_it(tiny, refused):
    said = refused("`extends` of a file that is not there", tiny(extends="base/none.yaml"))
    assert "tiny.yaml: extends" in said


@pytest.mark.parametrize(
    ("given", "stages", "part"),
    [
        ("no training stage", [], "at least one stage"),
        ("two stages of one name", ["all", "all"], "a different name for each"),
        ("a stage of no epoch", [{**STAGE, "epochs": 0}], "at least 1"),
        ("a stage that trains nothing known", [{**STAGE, "trainable": "tail"}], "head"),
        ("a stage without a rate", [{"name": "all", "epochs": 1, "trainable": "all"}], "lr is missing"),
        ("a warm-up longer than its stage", [{**STAGE, "warmup_epochs": 2}], "warmup_epochs"),
        ("a backbone rate where only the head learns", [{**STAGE, "trainable": "head", "backbone_lr": 1}], "backbone_lr"),
        ("one stage where a list belongs", "all", "a list"),
    ],
)  # fmt: skip
def test_a_stage_list_that_cannot_be_trained_is_refused(given, stages, part, tiny, refused):
    if isinstance(stages, list):
        stages = [{**TRAINING["stages"][0], "name": stage} if isinstance(stage, str) else stage for stage in stages]
    assert part in refused(given, tiny(training={**TRAINING, "stages": stages}))


def test_an_unknown_architecture_is_told_with_those_that_are_known(tiny, refused):
    said = refused("an unknown architecture", tiny(), "model.arch=resnet51")
    assert "resnet50" in said and "efficientnet_b0" in said


def test_a_batch_that_no_machine_takes_is_refused_before_data_is_looked_at(tiny, refused):
    refused("a batch beyond any limit", tiny(), "training.batch_size=5000")


@pytest.mark.parametrize(
    ("given", "pairs", "changes"),
    [
        ("a password as a key of the YAML", [], {"training": {"db_password": SECRET}}),
        ("a webhook in the YAML", [], {"description": f"alerts go to https://hooks.slack.com/services/T0/B0/{SECRET}"}),
        ("a database URL with its password in the YAML", [], {"title": f"postgresql://me:{SECRET}@db.internal/visionops"}),
        ("a webhook by --set", [f"alert_webhook=https://chat.internal/hook/{SECRET}"], {}),
        ("an access token in a value by --set", [f"description=https://images.internal/set?token={SECRET}"], {}),
        ("a token in a list by --set", [f"data.classes=[healthy, ghp_{SECRET}{SECRET}]"], {}),
    ],
)  # fmt: skip
def test_a_secret_in_the_wrong_place_is_refused_and_not_repeated(given, pairs, changes, tiny, refused):
    said = refused(given, tiny(**changes), *pairs)
    assert SECRET not in said and "VISIONOPS_" in said


def test_a_secret_as_the_reason_of_a_run_is_refused_and_not_repeated(tiny, refused):
    url = f"https://u:{SECRET}@ci.internal/job/7"
    assert SECRET not in refused("a secret in --reason", tiny(), more=("--reason", url))


def test_a_secret_in_a_variable_that_is_recorded_is_refused_and_not_repeated(tiny, refused, monkeypatch):
    monkeypatch.setenv("VISIONOPS__DESCRIPTION", f"see postgresql://me:{SECRET}@db.internal/visionops")
    assert SECRET not in refused("a secret in a VISIONOPS__ variable", tiny())


def test_a_secret_where_it_belongs_stays_out_of_messages_and_of_what_a_task_shows(
    tiny, state, capfd, monkeypatch, fault
):
    """The registry's password: no server is there, so its URL is in the message, without the password."""
    from tasks.run import open_run

    monkeypatch.setenv("VISIONOPS_ALERT_WEBHOOK", f"https://hooks.slack.com/services/T0/B0/{SECRET}")
    monkeypatch.setenv("VISIONOPS_DVC_REMOTE", f"https://me:{SECRET}@127.0.0.1:9/data")
    run = open_run(tiny(), {}).model_copy(update={"database_url": f"postgresql://me:{SECRET}@127.0.0.1:9/visionops"})
    assert SECRET not in repr(run) and SECRET not in str(run.alert_webhook)
    assert SECRET not in json.dumps(run.config.model_dump(mode="json")) + json.dumps(run.git_tags())
    monkeypatch.setenv("VISIONOPS_MLFLOW_URI", f"http://me:{SECRET}@127.0.0.1:9")
    said = train(capfd, tiny())
    assert said.code == 1 and SECRET not in said.err + said.out
    assert "http://…@127.0.0.1:9 does not answer" in said.message
    kept = "neither message, log nor lineage has the password; nothing ran"
    fault.saw(
        "Config", "a password in VISIONOPS_MLFLOW_URI, whose server is away", exit=1, says=said.message, kept=kept
    )
