from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tasks.services import check_service
from vision.errors import MachineError


def test_a_database_that_can_not_be_used_is_told_before_work_and_without_its_password():
    with pytest.raises(MachineError, match=r"VISIONOPS_DATABASE_URL") as told:
        check_service("postgresql://ann:s3cret@127.0.0.1:9/audit", "VISIONOPS_DATABASE_URL")
    assert "127.0.0.1:9" in str(told.value) and "s3cret" not in str(told.value)


def test_a_registry_behind_a_proxy_that_says_502_is_away_and_one_that_wants_a_password_is_there():
    with answering(502) as uri, pytest.raises(MachineError, match="status 502"):
        check_service(uri, "VISIONOPS_MLFLOW_URI")
    with answering(401) as uri:
        check_service(uri, "VISIONOPS_MLFLOW_URI")


@contextmanager
def answering(status):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
