"""An MLflow server, as far as a login shows: a small HTTP server that lets one user in."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

USER, PASSWORD = "visionops", "a-long-password-of-a-test"


@contextmanager
def registry(status: int = 200) -> Iterator[str]:
    """Its address. status: of what is not refused; /health is open."""
    allowed = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            open_to_all = self.path == "/health" or self.headers.get("Authorization") == allowed
            body = b"{}" if open_to_all else b"You are not authenticated."
            self.send_response(status if open_to_all else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def log_message(self, *_) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
