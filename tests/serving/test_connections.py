"""Connections are spread over the workers of a server one by one, and a refusal needs no app."""

import os
import signal
import threading
import time
from collections import Counter

import pytest

from bentos.connections.shares import ENDED, GIVEN
from tests.serving.connections_stage import IDLE_S, Workers, ask


@pytest.fixture
def workers(tmp_path):
    running = Workers(tmp_path / "host" / "service", 2)
    wait_for_all(running)
    yield running
    running.stop()


def wait_for_all(running: Workers) -> None:
    """Until each process has its mailbox."""
    wait_until(lambda: len(mailboxes(running)) == running.count)


def mailboxes(running: Workers) -> set[tuple[str, int]]:
    return {(path.name, path.stat().st_ctime_ns) for path in running.folder.glob("*mail*")}


def wait_until(true) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def answered_by(connections) -> Counter:
    return Counter(ask(connection)[1] for connection in connections)


def test_clients_that_come_at_once_are_shared_out(workers):
    """Two workers that accept in the same moment know of each other only a moment later: two connections may be uneven."""
    connections = [workers.connect() for _ in range(8)]
    assert min(answered_by(connections).values()) >= 3
    more = [workers.connect() for _ in range(56)]
    assert min(answered_by(connections + more).values()) >= 31


def test_a_connection_stays_with_its_worker_and_is_counted_out_when_it_ends(workers):
    connections = [workers.connect() for _ in range(8)]
    first = [ask(connection)[1] for connection in connections]
    assert [ask(connection)[1] for connection in connections] == first
    left = without(connections, first, workers)
    new = [workers.connect() for _ in range(len(left))]
    assert set(answered_by(new)) == {first[0]} and set(answered_by(left)) == set(first) - {first[0]}


def without(connections, answered, workers) -> list:
    """Those of other workers than the first, once all of its own are closed."""
    pairs = list(zip(connections, answered, strict=True))
    for connection, worker in pairs:
        if worker == answered[0]:
            connection.close()
    left = [connection for connection, worker in pairs if worker != answered[0]]
    wait_until(lambda: sorted(loads(workers)) == [0, len(left)])
    return left


def loads(workers) -> list[int]:
    [file] = workers.folder.glob("workers-*-2")
    numbers = memoryview(file.read_bytes()).cast("q")
    width = GIVEN + 2
    return [sum(numbers[GIVEN + place :: width]) - numbers[place * width + ENDED] for place in range(2)]


def test_a_killed_worker_gets_none_and_the_one_after_it_takes_its_place(workers):
    before = mailboxes(workers)
    killed = workers.processes[0]
    killed.kill()
    killed.join()
    connections = [workers.connect() for _ in range(6)]
    assert answered_by(connections) == {str(workers.processes[1].pid): 6}
    workers.processes.append(workers.start())
    wait_until(lambda: len(mailboxes(workers)) == 2 and len(mailboxes(workers) & before) == 1)
    new = [workers.connect() for _ in range(6)]
    assert answered_by(new) == {str(workers.processes[2].pid): 6}


def test_a_worker_that_hangs_is_passed_over(workers):
    hangs = workers.processes[0]
    os.kill(hangs.pid, signal.SIGSTOP)
    try:
        connections = [workers.connect() for _ in range(40)]
        time.sleep(1)
        found = [ask_soon(connection) for connection in connections]
        assert found.count(str(workers.processes[1].pid)) >= 28, "ten lie in its mailbox, as in any queue of its own"
        start_s = time.monotonic()
        assert [ask_soon(workers.connect()) for _ in range(10)].count(None) == 0 and time.monotonic() - start_s < 4
    finally:
        os.kill(hangs.pid, signal.SIGCONT)


def ask_soon(connection) -> str | None:
    connection.sock.settimeout(0.3)
    try:
        return ask(connection)[1]
    except TimeoutError:
        return None


def test_without_a_place_to_tell_each_other_each_worker_accepts_for_itself(tmp_path):
    (tmp_path / "host").write_text("")
    running = Workers(tmp_path / "host" / "service", 2)
    try:
        assert ask(running.connect())[0] == 200
    finally:
        running.stop()


def test_what_was_asked_is_answered_though_the_server_stops(workers):
    connections = [workers.connect() for _ in range(6)]
    found = []
    threads = [threading.Thread(target=lambda c=c: found.append(ask(c, "/slow")[0])) for c in connections]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    for process in workers.processes:
        os.kill(process.pid, signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert found == [200] * 6


def test_a_server_stops_though_clients_come_and_say_nothing(workers):
    """Those that lie in a mailbox, or have just begun, are ended too: nobody waits for what they may ask."""
    for process in workers.processes:
        os.kill(process.pid, signal.SIGSTOP)
    connections = [workers.connect() for _ in range(12)]
    for process in workers.processes:
        os.kill(process.pid, signal.SIGTERM)
        os.kill(process.pid, signal.SIGCONT)
    for process in workers.processes:
        process.join(5)
        assert process.exitcode is not None
    del connections


def test_an_idle_connection_ends_also_after_a_refusal(workers):
    connection = workers.connect()
    connection.sock.sendall(b"POST /full HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
    assert b"429" in connection.sock.recv(1000)
    connection.sock.sendall(b"hello")
    connection.sock.settimeout(IDLE_S + 5)
    start_s = time.monotonic()
    assert connection.sock.recv(1000) == b"" and time.monotonic() - start_s > IDLE_S / 2


def received(connection, data: bytes) -> bytes:
    """All that comes until a second of silence or the end."""
    connection.sock.sendall(data)
    connection.sock.settimeout(1)
    found = b""
    try:
        while chunk := connection.sock.recv(2**16):
            found += chunk
    except TimeoutError:
        pass
    return found


def test_nothing_is_done_after_an_answer_that_ends_the_connection(workers):
    request = b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    assert received(workers.connect(), request % b"/leave" + request % b"/").count(b"HTTP/1.1") == 1
    counts = [ask(connection, "/count")[1] for connection in [workers.connect(), workers.connect()]]
    assert counts == ["0", "0"], "the second was asked of no worker"


def test_many_requests_at_once_are_refused_one_by_one(workers):
    request = b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    found = received(workers.connect(), request % b"/slow" + 2000 * (request % b"/full"))
    assert found.count(b"HTTP/1.1 200") + found.count(b"HTTP/1.1 429") == 2001


def test_who_reads_no_answers_fills_no_memory(workers):
    connection = workers.connect()
    connection.sock.settimeout(0.5)
    request, sent = 1000 * b"POST /full HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 0
    with pytest.raises(TimeoutError):
        while sent < 50 * 2**20:
            sent += connection.sock.send(request)


def test_a_refusal_is_a_whole_answer_and_the_connection_lasts(workers):
    [connection, other] = [workers.connect() for _ in range(2)]
    for body in (None, b"x" * 60_000):
        connection.request("POST", "/full", body)
        answer = connection.getresponse()
        assert answer.status == 429 and answer.read() == b"full" and answer.getheader("date")
    assert ask(connection)[0] == 200 and ask(other)[0] == 200


def test_who_is_refused_by_a_crowded_worker_is_sent_away(workers):
    connections = [workers.connect() for _ in range(8)]
    first = [ask(connection)[1] for connection in connections]
    [crowded, *_] = without(connections, first, workers)
    assert ask(crowded, "/full") == (429, "leave")
