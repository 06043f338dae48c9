"""Who gets the next connection, and how it comes to them."""

import os
import socket

import pytest

from bentos.connections.mailbox import NOTE, Mailbox
from bentos.connections.shares import GIVEN, Meeting, Shares


def test_the_next_connection_goes_to_the_worker_with_fewest_and_stays_where_nobody_has_fewer():
    numbers = memoryview(bytearray(8 * 3 * (GIVEN + 3))).cast("q")
    first, second, third = (Shares(numbers, 3, place) for place in range(3))
    for _ in range(3):
        first.give(first.choose())
    assert [first.load(place) for place in range(3)] == [1, 1, 1] and not first.crowded()
    assert [first.mail(place) for place in range(3)] == [0, 1, 1]
    second.take()
    assert first.mail(1) == 0
    first.give(0)
    assert second.choose() == 1 and first.choose() == 1 and not first.crowded()
    third.leave()
    second.end()
    assert first.crowded() and second.choose() == 1, "who has left gets none, though it has few"
    first.pass_over(1, 60)
    assert first.choose() == 0 and not first.crowded()


def test_a_place_is_taken_over_empty_by_whoever_comes_after_a_dead_worker(tmp_path):
    meeting = Meeting(tmp_path / "host" / "service", os.getpid(), 2)
    first, second = meeting.join(), meeting.join()
    assert (first.own, second.own) == (0, 1)
    with pytest.raises(OSError, match="more than 2 workers"):
        meeting.join()
    first.give(0)
    first.give(1)
    second.give(0)
    again = Shares(first._numbers, 2, 0)
    assert [again.load(0), again.load(1), again.mail(0)] == [0, 1, 0]


def test_files_of_servers_that_have_ended_are_removed(tmp_path):
    folder = tmp_path / "host" / "service"
    folder.mkdir(parents=True, mode=0o700)
    for name in ("workers-999999999-2", "workers-999999999-mail0"):
        (folder / name).write_bytes(b"")
    Meeting(folder, os.getpid(), 2).join()
    assert not list(folder.glob("workers-999999999*"))


def test_a_connection_without_a_file_handle_left_for_it_is_counted_out(tmp_path):
    mailbox = Mailbox(tmp_path / "mail")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(NOTE, str(tmp_path / "mail"))  # what is left of a message whose handle the kernel dropped
    assert mailbox.receive() is None
    with pytest.raises(BlockingIOError):
        mailbox.receive()
    mailbox.shut()
    with pytest.raises(OSError), socket.socket() as connection:
        mailbox.send(connection, tmp_path / "mail")
    mailbox.close()
