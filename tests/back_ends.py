"""Back ends that tests start on this machine: PostgreSQL, an S3 API (moto) that knows its users, and a slow way to it.

They need Debian's postgresql and the packages of pyproject's extra `system`; who lacks them is told so, and the test fails.
"""

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.packaging.smoke import free_port
from tasks.stack.process import child, wait_until_healthy
from vision.lineage import PROJECT

HOST = "127.0.0.1"
USER = "visionops"
DATABASES = PROJECT / "deploy" / "compose" / "databases.sql"
BIN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
NEEDED = ("psycopg2", "asyncpg", "boto3", "dvc_s3", "flask_wtf", "moto")
START_S = 60


def need_back_ends() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None] + ([] if BIN else ["postgresql"])
    if missing:
        how = "apt-get install postgresql; uv pip install -c requirements.train.lock -e '.[system]'"
        pytest.fail(f"needs {', '.join(missing)}: {how}", pytrace=False)


def clean_environment() -> dict[str, str]:
    """This process's, without what names another's services."""
    ours = ("VISIONOPS", "PREFECT_", "MLFLOW_", "AWS_", "RAY_", "PG")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


class Postgres:
    """A server with the three databases of deploy/compose, made as its image makes them. It refuses root."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="visionops-pg-", dir="/tmp"))
        self.port, self.password = free_port(), secrets.token_hex(16)
        self._as = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        self._process: subprocess.Popen | None = None
        secret = self.folder / "password"
        secret.write_text(self.password)
        if self._as:
            for path in (self.folder, secret):
                shutil.chown(path, "postgres", "postgres")
        how = ("--auth=scram-sha-256", f"--pwfile={secret}", f"--username={USER}", "--encoding=UTF8", "--no-locale")
        self._run(BIN / "initdb", "-D", self.folder / "data", *how, **self._as)
        self.start()
        self.psql("postgres", "-c", f"CREATE DATABASE {USER}")
        self.psql(USER, "-f", DATABASES)

    def start(self) -> None:
        options = (f"listen_addresses={HOST}", "shared_buffers=64MB", "fsync=off")
        command = [BIN / "postgres", "-D", self.folder / "data", "-p", str(self.port), "-k", self.folder]
        command += [word for option in options for word in ("-c", option)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd="/tmp",
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                **self._as,
            )
        end = time.monotonic() + START_S
        while subprocess.run([BIN / "pg_isready", "-q", "-h", HOST, "-p", str(self.port)], check=False).returncode:
            assert self._process.poll() is None and time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        """As an upgrade does: connections are cut, what was committed stays."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(START_S)

    def remove(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder)

    def url(self, database: str = USER, driver: str = "postgresql+psycopg2") -> str:
        return f"{driver}://{USER}:{self.password}@{HOST}:{self.port}/{database}"

    def psql(self, database: str, *words: str | Path) -> str:
        """What it prints, without headers."""
        place = ("-h", HOST, "-p", str(self.port), "-U", USER, "-d", database)
        command = (BIN / "psql", "-qAtX", "-v", "ON_ERROR_STOP=1", *place, *words)
        return self._run(*command, env={**os.environ, "PGPASSWORD": self.password})

    def _run(self, *command: str | Path, **how) -> str:
        done = subprocess.run(command, cwd="/tmp", capture_output=True, text=True, timeout=START_S, **how)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


class ObjectStore:
    """An S3 API with one user, whose signature it checks: moto asks for it from the third call on."""

    def __init__(self, url: str) -> None:
        import boto3

        self.url = url
        self.key, self.secret = "first", "calls"
        iam = boto3.client("iam", **self.client_options())
        iam.create_user(UserName=USER)
        everything = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
        iam.put_user_policy(UserName=USER, PolicyName="all", PolicyDocument=everything)
        made = iam.create_access_key(UserName=USER)["AccessKey"]
        self.key, self.secret = made["AccessKeyId"], made["SecretAccessKey"]

    def client_options(self) -> dict[str, str]:
        known = {"aws_access_key_id": self.key, "aws_secret_access_key": self.secret}
        return {"endpoint_url": self.url, "region_name": "us-east-1", **known}

    def names(self, bucket: str = "visionops") -> list[str]:
        import boto3

        pages = boto3.client("s3", **self.client_options()).get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]


@contextlib.contextmanager
def object_store(folder: Path) -> Iterator[ObjectStore]:
    port = free_port()
    env = {**clean_environment(), "INITIAL_NO_AUTH_ACTION_COUNT": "3"}
    command = (sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port))
    with child(command, folder, env, folder / "objects.log") as process:
        url = f"http://{HOST}:{port}"
        wait_until_healthy("moto", f"{url}/moto-api/", process.pid, folder / "objects.log")
        yield ObjectStore(url)


class Relay:
    """Another address of a server. delay_s: before what a client sends goes on; None: it never does."""

    def __init__(self, port: int) -> None:
        self.delay_s: float | None = 0.0
        self.seen = 0
        relay = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection((HOST, port)) as there:
                    threading.Thread(target=_pump, args=(there, self.request), daemon=True).start()
                    _pump(self.request, there, relay)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads, allow_reuse_address = True, True

        self._server = Server((HOST, 0), Handler)
        self.url = f"http://{HOST}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _pump(here: socket.socket, there: socket.socket, relay: Relay | None = None) -> None:
    with contextlib.suppress(OSError):
        while data := here.recv(65536):
            if relay is not None:
                relay.seen += 1
                while relay.delay_s is None:
                    time.sleep(0.1)
                time.sleep(relay.delay_s)
            there.sendall(data)
    with contextlib.suppress(OSError):
        there.shutdown(socket.SHUT_WR)
