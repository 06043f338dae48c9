"""Answers leave in one piece where they are there as a whole, and are what uvicorn would have sent where not."""

import socket

import pytest

from tests.serving.connections_stage import IDLE_S, Workers, ask, packets


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Workers(tmp_path_factory.mktemp("host") / "service", 1)
    running.connect().close()
    yield running
    running.stop()


def all_of(server: Workers, request: bytes) -> bytes:
    """What comes until the server ends the connection, which an idle one lives through for IDLE_S."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=IDLE_S / 2) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_head_and_body_come_in_one_piece_again_and_again(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        for _ in range(20):
            connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\ndate: ") and b"\r\ncontent-length: %d" % len(body) in head
            assert body.isdigit()
        assert packets(connection) == 20


def test_several_requests_in_one_piece_are_answered_in_order(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"GET /without_body HTTP/1.1\r\nhost: x\r\n\r\nGET /full HTTP/1.1\r\nhost: x\r\n\r\n")
        found = b""
        while not found.endswith(b"full"):
            found += connection.recv(65536)
    assert found.startswith(b"HTTP/1.1 204 No Content\r\n") and found.count(b"HTTP/1.1 ") == 2


def test_an_answer_in_parts_comes_whole(server):
    assert ask(server.connect(), "/in_parts") == (200, "one two")


def test_head_asks_for_no_body(server):
    found = all_of(server, b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert found.count(b"\r\n\r\nHTTP/1.1 200 OK\r\n") == 1


def test_a_client_that_wants_the_connection_closed_is_told_so_and_gets_it(server):
    found = all_of(server, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert b"connection: close" in found and found.rpartition(b"\r\n\r\n")[2].isdigit()


def test_what_fails_before_its_body_is_a_plain_fault(server):
    assert ask(server.connect(), "/fails_after_head") == (500, "Internal Server Error")


def test_an_answer_shorter_than_it_says_ends_the_connection(server):
    """Else the client would wait for the rest, or take the next answer for it."""
    assert all_of(server, b"GET /too_short HTTP/1.1\r\nhost: x\r\n\r\n").endswith(b"\r\n\r\nshort")


def test_a_header_that_would_be_two_is_not_sent(server):
    assert all_of(server, b"GET /split_header HTTP/1.1\r\nhost: x\r\n\r\n") == b""
