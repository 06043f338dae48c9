import asyncio
import socket
import threading

import pytest

from benchmarks.load import closed_loop, post

REFUSED = 7


@pytest.fixture
def port():
    """Of a server that refuses the first requests, closing each connection, and then answers all."""
    asked = iter(range(10**6))

    async def serve(reader, writer):
        while await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(1)
            refused = next(asked) < REFUSED
            head = b"429 Too Many\r\nConnection: close" if refused else b"200 OK"
            writer.write(b"HTTP/1.1 " + head + b"\r\nContent-Length: 2\r\n\r\n{}")
            await asyncio.sleep(0.001)
            if refused:
                break
        writer.close()

    async def run(listening, stop):
        async with await asyncio.start_server(serve, sock=listening):
            await stop.wait()

    listening, loop, stop = socket.create_server(("127.0.0.1", 0)), asyncio.new_event_loop(), asyncio.Event()
    loop.set_exception_handler(lambda *_: None)  # A client that goes away ends readuntil; so it is meant.
    thread = threading.Thread(target=loop.run_until_complete, args=(run(listening, stop),))
    thread.start()
    yield listening.getsockname()[1]
    loop.call_soon_threadsafe(stop.set)
    thread.join()


def test_an_answer_before_the_measured_time_is_counted_so_that_refusals_there_are_seen(port):
    load = closed_loop(port, [post("/", b"x")], clients=4, seconds=0.3)
    assert load.statuses[429] == REFUSED and 429 not in load.latencies_ms
    assert load.statuses[200] > len(load.latencies_ms[200]) > 0 and not load.lost
