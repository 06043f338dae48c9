"""`make smoke`: what is asked, with which key, and how it ends. The answers themselves: tests/serving and tests/system."""

from types import SimpleNamespace

import httpx
import pytest

from flows import smoke_service
from tasks.packaging.smoke import version, wait_until_ready
from tests.locked_registry import registry
from vision.edge import AGAINST, DONE, FAULT, MISTAKE
from vision.errors import MachineError, UserError
from vision.verdict import Verdict

KEY = "vo_0123_secret-of-the-test"


@pytest.fixture
def asked(monkeypatch, tmp_path, capsys):
    """`asked(verdict)`: code, output, and the headers that were sent."""
    monkeypatch.setenv("VISIONOPS_SERVICE_KEY", KEY)
    monkeypatch.setattr(smoke_service, "open_package", lambda folder: SimpleNamespace(package_sha="a" * 64))
    monkeypatch.setattr(smoke_service, "wait_until_ready", lambda url, wait: None)

    def put(verdict):
        sent = {}

        def smoked(url, package, headers):
            sent.update(headers)
            return verdict

        monkeypatch.setattr(smoke_service, "smoke", smoked)
        code = smoke_service.main(["http://127.0.0.1:9", "--package", str(tmp_path)])
        said = capsys.readouterr()
        return code, said.out + said.err, sent

    return put


def test_the_verdict_is_told_and_the_key_goes_to_the_service_alone(asked):
    code, said, sent = asked(Verdict(passed=True, reasons=("6 golden images",)))
    assert code == DONE and "passed" in said and "6 golden images" in said
    assert sent == {"X-API-Key": KEY} and KEY not in said
    code, said, _ = asked(Verdict(passed=False, reasons=("a.png: label moss, not slate",)))
    assert code == AGAINST and "label moss" in said


def test_a_service_that_is_away_or_no_address_is_told_in_one_message(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(smoke_service, "open_package", lambda folder: SimpleNamespace(package_sha="a" * 64))
    assert smoke_service.main(["http://127.0.0.1:9", "--package", str(tmp_path), "--wait", "0"]) == FAULT
    assert "not ready in 0 s" in capsys.readouterr().err
    assert smoke_service.main(["127.0.0.1:3000"]) == MISTAKE
    assert "http://host:port" in capsys.readouterr().err


def test_a_service_that_wants_another_key_says_so():
    with registry() as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        with pytest.raises(UserError, match="does not let us in: status 401"):
            version(client)
        with pytest.raises(MachineError, match="status 401"):
            wait_until_ready(url, 0)
