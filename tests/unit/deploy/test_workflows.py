"""The workflows of .github: what people run, pinned, with as few rights as they need, and no secret where it can be read."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from configs.load import known_systems

PROJECT = Path(__file__).resolve().parents[3]
FOLDER = PROJECT / ".github"
WORKFLOWS = sorted((FOLDER / "workflows").glob("*.yaml"))
ACTIONS = sorted((FOLDER / "actions").glob("*/action.yaml"))
MAKEFILE = (PROJECT / "Makefile").read_text()
PINNED = re.compile(r"^\s*(?:- )?uses: ([\w.-]+/[\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)$")
RIGHTS = {"comment": {"pull-requests": "write"}, "image": {"contents": "read", "packages": "write"}}
"""Jobs that may do more than read the code."""
SHOWN = re.compile(
    r"\b(echo|printf|cat)\b[^\n]*\$\{?(?:[A-Z_]*(?:PASSWORD|TOKEN|SECRET|KEY|CLUSTER|DATABASE_URL|USERNAME))\b[^\n]*"
)
ACTIONLINT = shutil.which("actionlint")


def load(path: Path) -> dict:
    """`on` is YAML 1.1's word for true."""
    found = yaml.safe_load(path.read_text())
    return {"on" if key is True else key: value for key, value in found.items()}


def jobs() -> Iterator[tuple[str, str, dict]]:
    for path in WORKFLOWS:
        for name, job in load(path)["jobs"].items():
            yield path.stem, name, job


def steps() -> Iterator[tuple[str, dict]]:
    for workflow, name, job in jobs():
        yield from ((f"{workflow}.{name}", step) for step in job.get("steps", ()))
    for path in ACTIONS:
        yield from ((path.parent.name, step) for step in load(path)["runs"]["steps"])


def scripts() -> list[tuple[str, str]]:
    return [(where, step["run"]) for where, step in steps() if "run" in step]


def called(script: str) -> list[tuple[str, list[str]]]:
    """(target, names of the variables it is given) of each `make` in it."""
    found = re.findall(r"^\s*(?:\w+=\S+ )*make ([a-z-]+)([^\n|>]*)", script, re.MULTILINE)
    found += re.findall(r"\bmake ([a-z-]+)([^\n|>]*)", script) if not found else []
    return [(target, re.findall(r"\b([A-Z]+)=", rest)) for target, rest in found]


def test_every_make_target_and_variable_is_there():
    calls = [(where, *call) for where, script in scripts() for call in called(script)]
    assert len(calls) > 15
    for where, target, names in calls:
        assert re.search(rf"^{target}:.*## ", MAKEFILE, re.MULTILINE), (where, target)
        assert target in re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split(), target
        recipe = re.search(rf"^{target}:.*\n(?:\t.*\n)+", MAKEFILE, re.MULTILINE)[0]
        own = recipe + "".join(re.findall(r"^SBOM = .*$", MAKEFILE, re.MULTILINE))
        assert [name for name in names if f"$({name})" not in own and f"$(or $({name})" not in own] == [], (
            where,
            target,
        )


def test_they_do_what_the_pipeline_is_for_by_the_targets_that_people_use():
    used = {target for _, script in scripts() for target, _ in called(script)}
    assert {
        "setup", "lint", "types", "workflows", "test", "audit", "sbom", "demo", "image", "smoke", "rollout", "evidence",
        "promote", "bench-training", "bench-comment",
    } <= used  # fmt: skip


def test_every_action_is_pinned_by_its_commit_with_its_version_beside_it():
    commits: dict[str, set[str]] = {}
    for path in (*WORKFLOWS, *ACTIONS):
        for line in path.read_text().splitlines():
            if "uses:" in line and "uses: ./" not in line:
                pin = PINNED.match(line)
                assert pin, f"{path.name}: {line.strip()}"
                commits.setdefault(pin[1], set()).add(f"{pin[2]} {pin[3]}")
    assert {name for name, known in commits.items() if len(known) > 1} == set(), "one version of an action"
    assert {name.split("/")[0] for name in commits} == {"actions"}, (
        "GitHub's own alone: the rest is what its machines have"
    )


def test_each_may_read_the_code_and_says_what_more_it_needs():
    for path in WORKFLOWS:
        assert load(path)["permissions"] == {"contents": "read"}, path.name
        assert "pull_request_target" not in path.read_text()
    found = {name: job["permissions"] for _, name, job in jobs() if "permissions" in job}
    assert found == RIGHTS
    checkouts = [step for _, step in steps() if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts and all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_each_ends_and_none_runs_beside_itself():
    for workflow, name, job in jobs():
        assert "uses" in job or 0 < job["timeout-minutes"] <= 60, (workflow, name)
    for path in WORKFLOWS:
        found = load(path)
        assert "concurrency" in found or all("concurrency" in job for job in found["jobs"].values()), path.name


def test_what_runs_the_code_of_a_change_has_no_secret_and_none_of_our_machines():
    for path in WORKFLOWS:
        if "pull_request" in load(path)["on"]:
            assert "secrets." not in path.read_text() and "self-hosted" not in path.read_text(), path.name
    writing = next(job for _, name, job in jobs() if name == "comment")
    assert not [
        step for step in writing["steps"] if "checkout" in step.get("uses", "") or "make" in step.get("run", "")
    ]


def test_no_secret_and_nothing_that_a_stranger_wrote_stands_in_a_script():
    for where, script in scripts():
        inside = re.findall(r"\$\{\{\s*(.*?)\s*\}\}", script)
        assert inside == [], f"{where}: by `env`, where a shell takes it for text: {inside}"
        assert shown(script) == [] and "set -x" not in script, where


def shown(script: str) -> list[str]:
    """Lines that print a secret; into a file or a pipe is no print."""
    found = [line[0] for line in (match for match in SHOWN.finditer(script))]
    return [line for line in found if not re.search(r"> \"\$RUNNER_TEMP/|\| docker login .*--password-stdin", line)]


@pytest.mark.parametrize("script", ['echo "$MLFLOW_TRACKING_PASSWORD"', "printf %s $TOKEN", 'cat <<< "${SERVICE_KEY}"'])
def test_a_secret_that_is_printed_is_seen(script):
    assert shown(script)


def test_production_comes_after_staging_and_after_a_person():
    deliver = load(FOLDER / "workflows" / "deliver.yaml")["jobs"]
    assert deliver["production"]["with"]["environment"] == "production" and "staging" in deliver["production"]["needs"]
    assert deliver["staging"]["with"]["environment"] == "staging" and deliver["staging"]["needs"] == "image"
    inner = load(FOLDER / "workflows" / "environment.yaml")["jobs"]["roll-out"]
    assert inner["environment"] == "${{ inputs.environment }}", "its reviewers and secrets"
    order = [target for step in inner["steps"] for target, _ in called(step.get("run", ""))]
    assert order == ["rollout", "smoke", "rollout"], "back where the smoke test fails"
    promote = load(FOLDER / "workflows" / "promote.yaml")["jobs"]
    assert promote["promote"]["environment"] == "production" and promote["promote"]["needs"] == "evidence"
    for name in ("deliver", "promote"):
        found = load(FOLDER / "workflows" / f"{name}.yaml")
        assert list(found["on"]) == ["workflow_dispatch"], "by hand"
        assert next(iter(found["jobs"].values()))["if"] == "github.ref == 'refs/heads/main'"
        assert tuple(found["on"]["workflow_dispatch"]["inputs"]["system"]["options"]) == known_systems()


def test_the_cache_goes_by_the_locks():
    (cache,) = [step for _, step in steps() if step.get("uses", "").startswith("actions/cache@")]
    assert "hashFiles('requirements*.lock')" in cache["with"]["key"] and "restore-keys" not in cache["with"]


def test_what_the_security_page_names_is_what_the_workflows_ask_for():
    page = (PROJECT / "docs" / "security.md").read_text()
    text = "\n".join(path.read_text() for path in WORKFLOWS)
    for name in set(re.findall(r"\b(?:secrets|vars)\.([A-Z_]+)", text)):
        assert f"`{name}`" in page, name
    named = {job["environment"] for _, _, job in jobs() if "environment" in job} - {"${{ inputs.environment }}"}
    assert all(f"`{name}`" in page for name in {*named, "staging"})


@pytest.mark.skipif(ACTIONLINT is None, reason="no actionlint on this machine")
def test_actionlint_takes_them():
    done = subprocess.run([ACTIONLINT], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
