import http.server
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from tasks.monitoring.alert import alert


def run(webhook):
    secret = SecretStr(webhook) if webhook else None
    return SimpleNamespace(config=SimpleNamespace(system="leaf"), reason="drift", alert_webhook=secret)


@pytest.fixture
def receiver():
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", got
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_webhook_gets_what_happened(receiver):
    url, got = receiver
    alert(run(url), "rejected by its gate", ("macro_f1 0.71 < 0.80",))
    assert got == [
        {"system": "leaf", "what": "rejected by its gate", "reasons": ["macro_f1 0.71 < 0.80"], "reason": "drift"}
    ]


def test_of_alarms_at_the_same_moment_the_webhook_gets_every_one(receiver):
    url, got = receiver
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: alert(run(url), f"alarm {number}", ()), range(8)))
    assert sorted(body["what"] for body in got) == [f"alarm {number}" for number in range(8)]


def test_a_dead_webhook_changes_nothing_but_the_log(caplog):
    with caplog.at_level(logging.WARNING, logger="visionops.alert"):
        alert(run("http://127.0.0.1:9/secret-path"), "rejected", ("why",))
    assert "could not be delivered" in caplog.text and "secret-path" not in caplog.text


def test_without_a_webhook_the_log_has_it(caplog):
    with caplog.at_level(logging.WARNING, logger="visionops.alert"):
        alert(run(None), "rejected", ("why",))
    assert "leaf: rejected: why" in caplog.text


def test_a_webhook_that_is_no_url_changes_nothing_but_the_log(caplog):
    with caplog.at_level(logging.WARNING, logger="visionops.alert"):
        alert(run("secret-path"), "rejected", ("why",))
    assert "could not be delivered" in caplog.text and "secret-path" not in caplog.text
