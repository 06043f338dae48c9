"""The audit tells what it could not ask; the tools come by a lock of their own, with hashes."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
AUDIT = PROJECT / "deploy" / "security" / "audit.sh"


@pytest.fixture
def audited(tmp_path):
    """`audited(words, code)`: audit.sh with a pip-audit that says this and ends so."""

    def put(words: str, code: int) -> subprocess.CompletedProcess:
        program = tmp_path / "pip-audit"
        program.write_text(f"#!{os.path.realpath('/bin/sh')}\necho \"$@\"\necho '{words}' >&2\nexit {code}\n")
        program.chmod(0o755)
        return subprocess.run(
            [AUDIT, program, "a.lock", "b.lock"], capture_output=True, text=True, timeout=30, check=False
        )

    return put


def test_each_lock_is_audited_as_it_stands(audited):
    done = audited("No known vulnerabilities found", 0)
    assert done.returncode == 0 and done.stdout.count("--strict --disable-pip --require-hashes") == 2
    assert "-r a.lock" in done.stdout and "-r b.lock" in done.stdout


def test_known_vulnerabilities_of_one_lock_do_not_hide_those_of_the_next(audited):
    done = audited("Found 2 known vulnerabilities in 1 package", 1)
    assert done.returncode == 3 and "-r b.lock" in done.stdout and done.stderr.count("Found 2") == 2


@pytest.mark.parametrize(
    "words",
    [
        "ERROR:pip_audit._cli:six: Dependency not found on PyPI and could not be audited: six (1.17.0)",
        "requests.exceptions.ConnectionError: Max retries exceeded",
        "ERROR:pip_audit._cli:requirement six==1.17.0 does not contain a hash",
    ],
)
def test_an_audit_that_could_not_ask_is_no_clean_one(words, audited):
    done = audited(words, 1)
    assert done.returncode == 1 and words in done.stderr and "to do: run it where" in done.stderr


def test_the_tools_are_locked_with_their_hashes_and_lie_outside_the_projects_environment():
    lock = (PROJECT / "requirements.tools.lock").read_text()
    pinned = dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", lock, re.MULTILINE))
    wanted = tomllib.loads((PROJECT / "pyproject.toml").read_text())["dependency-groups"]["tools"]
    assert set(wanted) <= set(pinned)
    assert all("--hash=sha256:" in block for block in re.split(r"\n(?=[a-z])", lock.strip()))
    makefile = (PROJECT / "Makefile").read_text()
    assert re.search(
        r"^tools:.*\n(?:\t.*\n)*?\t.*pip sync -q --require-hashes --python \$\(TOOLS\)", makefile, re.MULTILINE
    )


def test_every_lock_is_audited_listed_and_has_hashes():
    locks = set(re.search(r"^LOCKS := (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)[1].split())
    assert locks == {path.name for path in PROJECT.glob("requirements*.lock")} - {"requirements.tools.lock"}
    for name in locks:
        blocks = re.split(r"\n(?=[a-z])", (PROJECT / name).read_text().strip())
        assert all("--hash=sha256:" in block for block in blocks if "==" in block), name
