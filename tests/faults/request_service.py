"""A server of two workers for the tests of requests: its keys, its token issuer, and a client with one of the keys."""

import importlib
import json
import shutil
import subprocess
from pathlib import Path

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bentos.access.keys import KeyFile, change_keys, new_key

PROJECT = Path(__file__).resolve().parents[2]
BODY_TIMEOUT_S = 1.5
PLENTY = 1_000_000
KEPT = "the next image is answered, by the same processes"


class Service:
    """The server, its keys, and a client with one of them."""

    def __init__(self, tmp_path_factory) -> None:
        """Serves the tiny package of tests/serving, from a state folder of its own. Loads torch."""
        tiny = importlib.import_module("tests.serving.conftest")
        self.draw = tiny.draw
        folder = tmp_path_factory.mktemp("requests")
        state = shutil.copytree(tiny.released(tmp_path_factory.getbasetemp()), folder / "state")
        self.state, self.log = state, folder / "serve.log"
        self.keys = state / "systems" / "quickstart" / "access" / "keys.json"
        self.issuer = Ed25519PrivateKey.generate()
        pem = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.pem = self.issuer.public_key().public_bytes(*pem)
        (folder / "issuer.pem").write_bytes(self.pem)
        self.texts: list[str] = []
        self.key = self.new_key(PLENTY)
        prefix = "VISIONOPS__SERVING__"
        self.env = {
            "VISIONOPS_STATE": str(state),
            "VISIONOPS_SYSTEM": "quickstart",
            f"{prefix}WORKERS": "2",
            f"{prefix}MAX_BODY_MIB": "2",
            f"{prefix}ACCESS__KEYS_FILE": str(self.keys),
            f"{prefix}ACCESS__TOKEN": json.dumps({"algorithm": "EdDSA", "key_file": str(folder / "issuer.pem")}),
            f"{prefix}ACCESS__BODY_TIMEOUT_S": str(BODY_TIMEOUT_S),
        }

    def new_key(self, per_minute: int) -> str:
        key, text = new_key(("predict", "feedback"), requests_per_minute=per_minute)
        change_keys(self.keys, lambda file: KeyFile(keys=(*file.keys, key)))
        self.texts.append(text)
        return text

    def start(self, server) -> None:
        self.url, self.pid = server.url, server.pid
        self.client = httpx.Client(base_url=server.url, headers={"x-api-key": self.key}, timeout=20, trust_env=False)
        self.workers = self.processes()

    def processes(self) -> list[str]:
        command = ["ps", "--ppid", str(self.pid), "-o", "pid="]
        return sorted(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())

    def check_unharmed(self) -> None:
        answer = self.client.post("/predict", files={"file": self.draw("moss", 1)})
        assert answer.status_code == 200, answer.text
        assert answer.json()["label"] == "moss"
        assert self.processes() == self.workers

    def refuses(self, status: int, *, path: str = "/predict", **request) -> str:
        """What the answer says was got."""
        answer = self.client.post(path, **request)
        assert answer.status_code == status, answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"] == "application/json"
        return answer.json()["error"]["got"]


def image_file(data: bytes, name: str = "leaf.jpg", kind: str = "image/jpeg") -> dict:
    return {"file": (name, data, kind)}
