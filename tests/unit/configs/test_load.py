"""Precedence, and one clear message for whatever is wrong."""

import pytest
import yaml

from configs.load import FOLDER, known_systems, load_system, read_resolved, settings
from configs.schema import config_sha, dump_yaml
from vision.errors import UserError


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """No `.env` of the person who runs the tests."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def system(tmp_path):
    """Writes small.yaml, which is quickstart with a change, and returns its path."""

    def write(text: str = "") -> str:
        (tmp_path / "small.yaml").write_text(f"extends: {FOLDER}/quickstart.yaml\nsystem: small\n{text}")
        return str(tmp_path / "small.yaml")

    return write


def refused(*args, **kwargs) -> str:
    with pytest.raises(UserError) as caught:
        load_system(*args, **kwargs)
    return str(caught.value)


def test_every_system_that_is_there_loads():
    assert "quickstart" in known_systems()
    for name in known_systems():
        assert load_system(name).system == name


def test_override_beats_environment_beats_dotenv_beats_yaml_beats_what_it_extends(system, tmp_path, monkeypatch):
    path = system("training: {batch_size: 20, max_failures: 5, clip_norm: 2.0, label_smoothing: 0.2}\n")
    (tmp_path / ".env").write_text(
        "VISIONOPS__TRAINING__MAX_FAILURES=6\nVISIONOPS__TRAINING__CLIP_NORM=3\nVISIONOPS__TRAINING__LABEL_SMOOTHING=0.3\n"
    )
    monkeypatch.setenv("VISIONOPS__TRAINING__CLIP_NORM", "4")
    monkeypatch.setenv("VISIONOPS__TRAINING__LABEL_SMOOTHING", "0.4")
    training = load_system(path, {"training.label_smoothing": "0.5"}).training
    assert training.schedule == "one_cycle"
    assert (training.batch_size, training.max_failures, training.clip_norm, training.label_smoothing) == (20, 6, 4, 0.5)


def test_overrides_are_dotted_or_nested_and_text_is_read_by_the_schema():
    overrides = {
        "training.batch_size": "16",
        "training": {"version": "2"},
        "training.early_stop_epochs": "null",
        "data.classes": "[healthy, late_blight]",
        "training.stages_from_scratch.0.epochs": 1,
        "gate.minimum": {"accuracy": 0.5},
    }
    config = load_system("quickstart", overrides)
    training = config.training
    assert (training.batch_size, training.version, training.early_stop_epochs) == (16, "2", None)
    assert config.data.classes == ("healthy", "late_blight")
    assert training.stages_from_scratch[0].epochs == 1 and training.stages_from_scratch[0].name == "scratch"
    assert config.gate.minimum == {"accuracy": 0.5, "macro_f1": 0.9}


def test_environment_reaches_unions_lists_as_json_and_null(monkeypatch):
    monkeypatch.setenv("VISIONOPS__DATA__SOURCE__SEED", "3")
    monkeypatch.setenv("VISIONOPS__DATA__CLASSES", '["healthy", "late_blight"]')
    monkeypatch.setenv("VISIONOPS__TRAINING__EARLY_STOP_EPOCHS", "null")
    monkeypatch.setenv("VISIONOPS__CONTRACT__SEVERITY__BLANK_SHARE", "warning")
    config = load_system("quickstart")
    assert config.data.source.seed == 3 and config.data.classes == ("healthy", "late_blight")
    assert config.training.early_stop_epochs is None and config.contract.severity == {"blank_share": "warning"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training: {bach_size: 16}", ["training.bach_size = 16", "did you mean `batch_size`", "workers"]),
        ("training: {batch_size: 1}", ["training.batch_size = 1", "at least 2 and at most 4096"]),
        ("training: {label_smoothing: 1.0}", ["training.label_smoothing = 1.0", "at least 0", "below 1"]),
        ("training: {batch_size: many}", ["training.batch_size = 'many'", "a whole number"]),
        ("model: {arch: resnet19}", ["model.arch = 'resnet19'", "did you mean `resnet18`", "efficientnet_b0"]),
        ("kind: detekt", ["kind = 'detekt'", "classify"]),
        ("data: {source: {type: drwan}}", ["data.source.type = 'drwan'", "did you mean `drawn`", "torchvision"]),
        ("data: {source: {sidepx: 3}}", ["data.source.sidepx = 3", "did you mean `side_px`"]),
        ("data: {split: {train: 0.9}}", ["data.split", "0.9 + 0.15 + 0.15"]),
        ("contract: {severity: {blank: warning}}", ["contract.severity.blank", "blank_share", "readable"]),
        ("contract: {severity: {modes: fatal}}", ["contract.severity.modes = 'fatal'", "critical, warning"]),
        ("cards: {healthy: {disase: x}}", ["cards.healthy.disase = 'x'", "did you mean `disease`"]),
        ("training: {stages: [{name: a, epochs: 0, trainable: all, lr: 1}]}", ["stages[0].epochs = 0", "at least 1"]),
        ("training: {stages: [{name: a, trainable: all, lr: 1}]}", ["stages[0].epochs is missing", "whole number"]),
        ("training: {augment: [{name: rotaton}]}", ["training.augment[0].name = 'rotaton'", "did you mean `rotation`"]),
        ("input: {side_px: 300}", ["input", "resize_px must be at least side_px, got 128 < 300"]),
    ],
)  # fmt: skip
def test_a_wrong_value_names_file_key_value_and_what_is_allowed(text, words, system):
    said = refused(system(text + "\n"))
    for word in ["small.yaml", *words]:
        assert word in said


def test_a_wrong_value_from_a_shared_part_names_that_part(system, tmp_path):
    (tmp_path / "part.yaml").write_text("training: {batch_size: 0}\n")
    (tmp_path / "small.yaml").write_text(f"extends: [{FOLDER}/quickstart, part]\nsystem: small\n")
    said = refused("small.yaml")
    assert "part.yaml: training.batch_size = 0" in said and "small.yaml" not in said


def test_a_wrong_override_and_a_wrong_variable_are_named_as_such(monkeypatch, tmp_path):
    monkeypatch.setenv("VISIONOPS__TRAINING__BATCH_SIZE", "0")
    (tmp_path / ".env").write_text("VISIONOPS__TRAINING__WORKERS=0\n")
    said = refused("quickstart", {"training.schedule": "cosin"})
    assert "3 mistakes" in said
    assert "environment (VISIONOPS__TRAINING__BATCH_SIZE): training.batch_size = '0'" in said
    assert ".env (VISIONOPS__TRAINING__WORKERS): training.workers = '0'" in said
    assert "override: training.schedule = 'cosin'" in said and "did you mean `cosine`" in said


@pytest.mark.parametrize("variable", ["VISIONOPS__TRAINIG__BATCH_SIZE", "VISIONOPS__TRAINING__BATCHSIZE"])
@pytest.mark.parametrize("place", ["environment", ".env"])
def test_an_unknown_variable_is_refused_wherever_it_stands(variable, place, monkeypatch, tmp_path):
    if place == ".env":
        (tmp_path / ".env").write_text(f"{variable}=8\n")
    else:
        monkeypatch.setenv(variable, "8")
    said = refused("quickstart")
    assert place in said and variable in said and "did you mean" in said


def test_a_list_that_is_no_json_names_its_variable(monkeypatch):
    monkeypatch.setenv("VISIONOPS__TRAINING__STAGES", "[{name: a")
    said = refused("quickstart")
    assert "environment: VISIONOPS__TRAINING__STAGES = '[{name: a'" in said and "JSON" in said


def test_a_missing_system_names_those_there_are():
    said = refused("quikstart")
    assert "did you mean `quickstart`" in said and all(name in said for name in known_systems())
    assert "nowhere/x.yaml" in refused("nowhere/x.yaml")


def test_the_system_is_named_like_its_file(tmp_path):
    (tmp_path / "other.yaml").write_text(f"extends: {FOLDER}/quickstart\n")
    assert "system = 'quickstart'" in refused("other.yaml") and "'other'" in refused("other.yaml")
    assert "'quickstart'" in refused("quickstart", {"system": "mine"})


def test_the_resolved_yaml_gives_the_same_config_and_hash_back(tmp_path, monkeypatch):
    config = load_system("quickstart", {"training.batch_size": 16})
    (tmp_path / "config.yaml").write_text(dump_yaml(config))
    monkeypatch.setenv("VISIONOPS__TRAINING__BATCH_SIZE", "8")
    again = read_resolved(tmp_path / "config.yaml")
    assert again == config and config_sha(again) == config_sha(config)
    assert yaml.safe_load(dump_yaml(config))["serving"]["top_k"] == 3


def test_hashes_change_with_their_own_section_only():
    one, two = load_system("quickstart"), load_system("quickstart", {"training.batch_size": 16})
    assert config_sha(one) != config_sha(two) and config_sha(one.training) != config_sha(two.training)
    assert config_sha(one.data) == config_sha(two.data) and len(config_sha(one)) == 64


def test_settings_have_defaults_and_read_environment_and_dotenv(tmp_path, monkeypatch):
    for name in ("STATE", "DATA", "WEIGHTS", "SYSTEM", "ALERT_WEBHOOK"):
        monkeypatch.delenv(f"VISIONOPS_{name}", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert (
        str(settings().state) == ".visionops" and settings().system == "quickstart" and settings().ray_address is None
    )
    (tmp_path / ".env").write_text("VISIONOPS_SYSTEM=cifar10\nVISIONOPS_DATA=\nVISIONOPS__TRAINING__BATCH_SIZE=8\n")
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setenv("VISIONOPS_ALERT_WEBHOOK", "https://alerts.example/hook")
    found = settings()
    assert (found.system, found.data, found.ray_address) == ("cifar10", None, "auto")
    assert "alerts.example" not in repr(found)


def test_a_misspelt_setting_is_refused(monkeypatch):
    monkeypatch.setenv("VISIONOPS_STAET", "/somewhere")
    with pytest.raises(UserError, match="did you mean `VISIONOPS_STATE`"):
        settings()


def test_the_example_of_dotenv_names_every_setting_and_loads(tmp_path):
    text = (FOLDER.parent / ".env.example").read_text()
    names = {"VISIONOPS_STATE", "VISIONOPS_DATA", "VISIONOPS_WEIGHTS", "VISIONOPS_SYSTEM", "VISIONOPS_ALERT_WEBHOOK"}
    names |= {"VISIONOPS_KEEP_CACHES_DAYS"}
    assert all(f"# {name}=" in text for name in {*names, "RAY_ADDRESS"})
    lines = [line.removeprefix("# ") for line in text.splitlines() if line.startswith(("# VISIONOPS_", "# RAY_"))]
    (tmp_path / ".env").write_text("\n".join(lines))
    assert settings().system == "quickstart" and load_system("quickstart").training.batch_size == 16
