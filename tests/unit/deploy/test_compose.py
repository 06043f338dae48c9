"""compose.yaml: no default password, nothing open to the network, commands and settings that our code has."""

import configparser
import importlib.metadata
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import click
import pytest
import yaml

from configs.load import Settings
from tasks.stack.prefect import server_command, worker_command

PROJECT = Path(__file__).resolve().parents[3]
FOLDER = PROJECT / "deploy" / "compose"
COMPOSE = FOLDER / "compose.yaml"
OURS = ("prefect", "mlflow", "ray", "worker", "bucket")
PROMTOOL, AMTOOL = shutil.which("promtool"), shutil.which("amtool")


def services() -> dict[str, dict]:
    return yaml.safe_load(COMPOSE.read_text())["services"]


def example() -> dict[str, str]:
    lines = (FOLDER / "compose.env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def composer() -> list[str] | None:
    """`docker compose` with its plugin, else the older program; neither needs an engine to check a file."""
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_every_secret_is_asked_for_and_none_has_a_default():
    text = COMPOSE.read_text()
    asked = re.findall(r"\$\{([^}]*)\}", text.split("x-flows:", 1)[1])
    assert [one for one in asked if not re.fullmatch(r"[A-Z0-9_]+:\?[^}]*", one)] == []
    assert {one.partition(":")[0] for one in asked} == set(example())
    assert set(example().values()) == {""}
    ignored = subprocess.run(["git", "check-ignore", "-q", "deploy/compose/compose.env"], cwd=PROJECT, check=False)
    assert ignored.returncode == 0


def test_images_have_a_version_and_ports_stay_on_this_host():
    for name, service in services().items():
        image = service["image"]
        assert image.startswith("${VISIONOPS_") or re.search(r":v?\d+\.\d+", image), (name, image)
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert service["networks"] == ["inside"], name


def test_everything_that_stays_has_a_health_check_and_state_in_a_named_volume():
    named = set(yaml.safe_load(COMPOSE.read_text())["volumes"])
    for name, service in services().items():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in named or (FOLDER / source).exists(), (name, volume)
        if name not in ("bucket", "service"):
            assert service["healthcheck"]["test"][0] == "CMD", name
    assert "HEALTHCHECK" in (PROJECT / "deploy" / "image" / "Dockerfile").read_text()
    for service in services().values():
        assert set(service.get("depends_on", ())) <= set(services())


def test_settings_are_those_that_the_code_reads():
    known = {f"VISIONOPS_{name.upper()}" for name in Settings.model_fields}
    for name, service in services().items():
        used = {one for one in service.get("environment", ()) if one.startswith("VISIONOPS_")}
        assert used <= known, name
    flows = services()["worker"]["environment"]
    assert flows["VISIONOPS_STATE"] == services()["service"]["environment"]["VISIONOPS_STATE"]
    for dockerfile in ("Dockerfile", "train.Dockerfile"):
        text = (PROJECT / "deploy" / "image" / dockerfile).read_text()
        assert f"VISIONOPS_STATE={flows['VISIONOPS_STATE']}" in text
        assert "--uid 1034 --gid 1034" in text and "\nUSER 1034\n" in text, "both write to one volume"


def test_commands_and_ports_are_those_of_our_code_and_of_the_locked_programs():
    scripts = {one.name for one in importlib.metadata.entry_points(group="console_scripts")} | {"python", "/bin/sh"}
    for name in OURS:
        assert services()[name]["command"][0] in scripts, name
    assert tuple(services()["prefect"]["command"][1:]) == server_command("0.0.0.0", 4200)[3:]
    start = next(line for line in services()["worker"]["command"][2].splitlines() if "worker start" in line)
    assert tuple(start.split()[2:]) == worker_command()[3:]
    assert services()["worker"]["environment"]["PREFECT_API_URL"] == "http://prefect:4200/api"
    text = (PROJECT / "deploy" / "image" / "Dockerfile").read_text()
    assert "BENTOML_PORT=3000" in text and services()["service"]["ports"] == ["127.0.0.1:3000:3000"]


@pytest.mark.slow  # imports MLflow and Ray
def test_mlflow_and_ray_take_their_options():
    from mlflow.cli import server
    from ray.scripts.scripts import start

    mlflow, ray = services()["mlflow"]["command"], services()["ray"]["command"]
    joined = services()["worker"]["command"][2].splitlines()[0].split()
    for program, words in ((server, mlflow[2:]), (start, ray[2:]), (start, joined[2:])):
        parser = program.make_parser(click.Context(program))
        _, left, _ = parser.parse_args(list(words))
        assert left == []
    assert "mlflow:5000" in option(mlflow, "--allowed-hosts"), "others are refused with 403"
    settings = services()["worker"]["environment"]
    assert settings["RAY_ADDRESS"] == f"ray:{option(ray, '--port')}" == joined[joined.index("--address") + 1]
    assert settings["VISIONOPS_MLFLOW_URI"] == f"http://mlflow:{option(mlflow, '--port')}"


def test_mlflow_asks_who_it_is_and_the_flows_can_say():
    mlflow, flows = services()["mlflow"], services()["worker"]["environment"]
    own = mlflow["environment"]
    assert option(mlflow["command"], "--app-name") == "basic-auth"
    assert own["MLFLOW_AUTH_ADMIN_USERNAME"] == flows["MLFLOW_TRACKING_USERNAME"]
    assert own["MLFLOW_AUTH_ADMIN_PASSWORD"] == flows["MLFLOW_TRACKING_PASSWORD"] == "${MLFLOW_PASSWORD:?}"
    assert f"./mlflow.sh:{mlflow['entrypoint'][-1]}:ro" in mlflow["volumes"]
    assert "/health" in mlflow["healthcheck"]["test"][-1], "the one path that is open"


def test_the_login_of_mlflow_is_written_where_it_looks_and_for_its_user_alone(tmp_path):
    """What compose starts MLflow by, with a command that shows the file."""
    place = tmp_path / "login.ini"
    uri = "postgresql+psycopg2://visionops:p%40ss@postgres:5432/mlflow"
    env = {**os.environ, "MLFLOW_AUTH_CONFIG_PATH": str(place), "MLFLOW_BACKEND_STORE_URI": uri}
    script = [services()["mlflow"]["entrypoint"][0], str(FOLDER / "mlflow.sh")]
    done = subprocess.run([*script, "cat", place], env=env, capture_output=True, text=True, timeout=30, check=True)
    parser = configparser.ConfigParser()
    parser.read_string(done.stdout)
    assert dict(parser["mlflow"])["database_uri"] == uri and parser["mlflow"]["default_permission"] == "READ"
    assert "admin_password" not in done.stdout and place.stat().st_mode & 0o077 == 0


def test_the_training_image_holds_every_package_and_the_locked_versions():
    text = (PROJECT / "deploy" / "image" / "train.Dockerfile").read_text()
    copied = {word for line in re.findall(r"^COPY (?!--)(.*) \S+$", text, re.MULTILINE) for word in line.split()}
    packages = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert set(packages) <= copied and all((PROJECT / name).exists() for name in copied)
    locks = [pins(f"requirements.{name}lock") for name in ("", "serve.", "gpu.", "train.")]
    for other in locks[1:]:
        assert {name for name in other.keys() & locks[0].keys() if other[name] != locks[0][name]} == set()
    assert {"asyncpg", "psycopg2-binary", "dvc-s3", "boto3", "flask-wtf"} <= set(locks[3]), "flask-wtf: MLflow's login"


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (PROJECT / lock).read_text(), re.MULTILINE))


@pytest.mark.skipif(composer() is None, reason="no docker compose: apt-get install docker-compose")
def test_compose_takes_the_file_and_refuses_to_start_without_a_secret(tmp_path):
    filled = dict.fromkeys(example(), "abc")
    command = [*composer(), "--env-file", str(tmp_path / "env"), "-f", str(COMPOSE), "config"]
    for missing in (None, "GRAFANA_PASSWORD", "POSTGRES_PASSWORD"):
        (tmp_path / "env").write_text("".join(f"{name}={value}\n" for name, value in filled.items() if name != missing))
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode == 0) == (missing is None), done.stderr
        assert missing is None or missing in done.stderr


@pytest.mark.skipif(PROMTOOL is None or AMTOOL is None, reason="apt-get install prometheus prometheus-alertmanager")
def test_prometheus_and_alertmanager_take_their_files(tmp_path):
    for path in (FOLDER / "prometheus.yaml", PROJECT / "deploy" / "prometheus" / "rules.yaml"):
        shutil.copyfile(path, tmp_path / path.name)
    for command in (
        [PROMTOOL, "check", "config", str(tmp_path / "prometheus.yaml")],
        [AMTOOL, "check-config", str(FOLDER / "alertmanager.yaml")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_prometheus_and_alertmanager_name_is_there():
    config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    targets = [*config["scrape_configs"][0]["static_configs"][0]["targets"]]
    targets += config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    ports = {name: [port.rpartition(":")[2] for port in one.get("ports", ())] for name, one in services().items()}
    assert all(target.split(":")[1] in ports[target.split(":")[0]] for target in targets)
    own = yaml.safe_load((PROJECT / "deploy" / "prometheus" / "prometheus.yaml").read_text())
    assert config["scrape_configs"][0]["job_name"] == own["scrape_configs"][0]["job_name"], "the rules ask for it"
    assert config["global"] == own["global"]
    url = yaml.safe_load((FOLDER / "alertmanager.yaml").read_text())["receivers"][0]["webhook_configs"][0]["url"]
    assert f"s|{url}|" in COMPOSE.read_text()
