"""Broken and hostile bodies, over real connections: each is refused for itself, and nobody else notices."""

import time

import hostile
import pytest
from request_service import BODY_TIMEOUT_S, KEPT, image_file

pytestmark = pytest.mark.slow


def test_a_form_that_holds_no_image(service, fault):
    leaf = service.draw("moss", 2)
    for given, status, request in (
        ("a form whose field is not named `file`", 422, {"files": {"photo": leaf}}),
        ("text in the form field `file`", 422, {"data": {"file": "leaf.jpg"}, "files": {"other": b"x"}}),
        ("a form without a boundary", 400, {"content": b"x", "headers": {"content-type": "multipart/form-data"}}),
        ("more images than a request may hold", 413, {"files": [("file", leaf)] * 17}),
        ("JSON where an image belongs", 415, {"json": {"file": "leaf.jpg"}}),
        ("a content type that is no image", 415, {"content": leaf, "headers": {"content-type": "text/html"}}),
        ("an empty body", 400, {"content": b""}),
        ("an empty file in a form", 400, {"files": image_file(b"")}),
    ):
        fault.saw("Requests", given, exit=status, says=service.refuses(status, **request), kept=KEPT)


def test_a_file_that_is_no_image_we_read(service, fault):
    pdf = b"%PDF-1.7\n" + service.draw("moss", 2)
    for given, status, data in (
        ("a text file named leaf.jpg", 415, b"hello"),
        ("an SVG with a script and a file of the server in it", 415, hostile.SVG),
        ("a GIF of 1,000 frames", 415, hostile.gif(1000)),
        ("a PDF that is a JPEG from its second line on", 415, pdf),
        ("a JPEG cut off half-way", 400, service.draw("moss", 2, size_px=(400, 300))[:9000]),
        ("a PNG of 30,000 x 30,000 pixels in a few kilobytes", 413, hostile.png_bomb(30_000)),
        ("a JPEG that says its sides are 60,000 pixels", 413, hostile.jpeg_of_sides(service.draw("moss", 2), 60_000)),
    ):
        fault.saw("Requests", given, exit=status, says=service.refuses(status, files=image_file(data)), kept=KEPT)


def test_an_image_that_is_something_else_as_well(service, fault):
    leaf = service.draw("moss", 2)
    for given, data in (
        ("a JPEG that is a zip archive too", hostile.zipped(leaf)),
        ("a JPEG whose comment is a web page with a script", hostile.with_script(leaf)),
    ):
        answer = service.client.post("/predict", files=image_file(data, "x.html", "text/html"))
        assert answer.status_code == 200
        assert answer.json()["label"] == "moss"
        assert "alert" not in answer.text
        assert answer.headers["content-type"] == "application/json"
        fault.saw(
            "Requests", given, exit=200, says="the image's label", kept="nothing of the file but its pixels is used"
        )


def test_a_file_name_that_leads_elsewhere(service, fault):
    before = {path for path in service.state.rglob("*") if "records" not in path.parts}
    names = ("../../../../tmp/evil.jpg", "/etc/passwd", "C:\\evil.jpg", "a\x00.jpg", "x" * 1000, "a;b|c`d`.jpg")
    asked = [service.client.post("/predict", files=image_file(service.draw("moss", 2), name)) for name in names]
    assert [answer.status_code for answer in asked] == [200] * len(names)
    too_long = service.client.post("/predict", files=image_file(service.draw("moss", 2), "x" * 10_000))
    assert too_long.status_code == 400
    assert {path for path in service.state.rglob("*") if "records" not in path.parts} == before
    fault.saw(
        "Requests", "a file name with ../, a drive, a null byte or 1,000 letters", exit=200, says="the image's label",
        kept="no file is written; the name is not used for anything",
    )  # fmt: skip


def test_a_bad_image_among_good_ones(service, fault):
    files = [("file", service.draw("moss", 3)), ("file", b"nothing"), ("file", service.draw("slate", 3))]
    answer = service.client.post("/predict", files=files)
    assert answer.status_code == 200
    first, bad, last = answer.json()["results"]
    assert (first["label"], last["label"]) == ("moss", "slate")
    fault.saw(
        "Requests", "one unreadable image among three of a request", exit=200, says=bad["error"]["got"],
        kept="the other two are answered in their places",
    )  # fmt: skip


def test_too_many_bytes(service, fault):
    def endless():
        for _ in range(40):
            yield bytes(2**16)

    said = service.refuses(413, content=bytes(2 * 2**20 + 1))
    assert service.refuses(413, content=endless()) == said
    fault.saw("Requests", "a body past max_body_mib, announced or not", exit=413, says=said, kept=KEPT)


def test_a_body_that_stops_half_way(service, fault):
    connections = [hostile.Connection(service.url) for _ in range(20)]
    for connection in connections:
        connection.send(hostile.head("/predict", connection.host, service.key, "Content-Length: 5000") + b"x" * 100)
        connection.close()
    time.sleep(0.3)
    fault.saw(
        "Requests", "a connection that ends in the middle of a body", exit="–", says="nobody is left to tell", kept=KEPT
    )


def test_a_slow_client(service, fault):
    slow = [hostile.Connection(service.url) for _ in range(50)]
    for connection in slow:
        connection.send(hostile.head("/predict", connection.host, service.key, "Content-Length: 5000"))
    start_s = time.monotonic()
    assert service.client.post("/predict", files={"file": service.draw("moss", 1)}).status_code == 200
    assert time.monotonic() - start_s < BODY_TIMEOUT_S
    slow[0].drip(3 * BODY_TIMEOUT_S)
    assert [connection.status() for connection in slow] == [408] * 50
    for connection in slow:
        connection.close()
    fault.saw(
        "Requests", "fifty clients that send a byte now and then", exit=408,
        says=f"a body that was not whole after {BODY_TIMEOUT_S:g} s", kept="others are answered meanwhile",
    )  # fmt: skip


def test_connections_that_say_nothing(service, fault):
    idle = [hostile.Connection(service.url) for _ in range(200)]
    for connection in idle[::2]:
        connection.send(b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    assert service.client.post("/predict", files={"file": service.draw("moss", 1)}).status_code == 200
    for connection in idle:
        connection.close()
    fault.saw(
        "Requests", "200 connections with half a header or nothing", exit="–", says="nothing",
        kept="others are answered meanwhile; such a connection stays until its client or a proxy in front ends it",
    )  # fmt: skip


def test_two_lengths_for_one_body(service, fault):
    """Request smuggling: two readers of such a request would disagree where it ends."""
    for lines in (("Content-Length: 5", "Transfer-Encoding: chunked"), ("Content-Length: 5", "Content-Length: 6"),
                  ("Content-Length: -1",), ("Transfer-Encoding: chunked, nothing",)):  # fmt: skip
        connection = hostile.Connection(service.url, timeout_s=5)
        connection.send(hostile.head("/predict", connection.host, service.key, *lines) + b"0\r\n\r\n")
        assert 400 <= connection.status() < 500, lines
        connection.close()
    fault.saw("Requests", "two lengths for one body", exit="4xx", says="an invalid request, or no image", kept=KEPT)
