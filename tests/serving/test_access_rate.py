"""The rate: exact over processes and restarts, and with a clock that the test holds."""

import subprocess
import sys
from pathlib import Path

import pytest

from bentos.limits.rate import RateLimiter, Ring
from vision.errors import MachineError

PROJECT = Path(__file__).resolve().parents[2]
MINUTE_MS = 60_000
WORKER = """
import sys
from pathlib import Path
from bentos.limits.rate import RateLimiter
limiter = RateLimiter(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(sum(limiter.take("key", 100).retry_after_ms is None for _ in range(125)))
"""


class Clock:
    now_ms = 10 * MINUTE_MS

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(tmp_path, clock):
    limiter = RateLimiter(tmp_path / "rate", clock)
    yield limiter
    limiter.close()


def allowed(limiter, client="key", limit=100, times=1) -> int:
    return sum(limiter.take(client, limit).retry_after_ms is None for _ in range(times))


def test_two_processes_at_once_allow_exactly_the_limit(tmp_path):
    command = [sys.executable, "-c", WORKER, str(tmp_path / "rate")]
    workers = [
        subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    assert sum(int(worker.communicate(timeout=30)[0]) for worker in workers) == 100


def test_a_restarted_worker_goes_on_counting(tmp_path, clock):
    assert allowed(RateLimiter(tmp_path / "rate", clock), times=70) == 70
    assert allowed(RateLimiter(tmp_path / "rate", clock), times=70) == 30


def test_in_no_minute_more_than_the_limit_wherever_it_begins(limiter, clock):
    times = []
    for step in range(3000):
        clock.now_ms += (37 * step) % 211
        times += [clock.now_ms] * allowed(limiter, limit=20)
    assert len(times) > 60
    assert all(late - early > MINUTE_MS for early, late in zip(times, times[20:], strict=False))


def test_who_waits_as_long_as_told_is_allowed_and_not_a_millisecond_before(limiter, clock):
    for _ in range(5):
        assert allowed(limiter, limit=5) == 1
        clock.now_ms += 1000
    wait_ms = limiter.take("key", 5).retry_after_ms
    assert wait_ms == MINUTE_MS - 5000 + 1
    clock.now_ms += wait_ms - 1
    assert allowed(limiter, limit=5) == 0
    clock.now_ms += 1
    assert allowed(limiter, limit=5, times=2) == 1


def test_what_is_left_and_until_when(limiter, clock):
    first = limiter.take("key", 3)
    assert (first.limit, first.remaining, first.reset_ms) == (3, 2, MINUTE_MS + 1)
    clock.now_ms += 500
    assert limiter.take("key", 3).remaining == 1
    assert limiter.take("key", 3).remaining == 0
    refused = limiter.take("key", 3)
    assert (refused.remaining, refused.retry_after_ms) == (0, MINUTE_MS - 500 + 1)
    clock.now_ms += MINUTE_MS + 1
    assert limiter.take("key", 3).remaining == 2


def test_clients_don_t_share_their_rate(limiter):
    assert allowed(limiter, "a", 5, times=9) == 5
    assert allowed(limiter, "b", 5, times=9) == 5


def test_a_host_that_was_started_again_begins_anew(limiter, clock):
    assert allowed(limiter, limit=5, times=9) == 5
    clock.now_ms = 1000
    assert allowed(limiter, limit=5, times=9) == 5


def test_no_key_stands_in_the_folder(limiter, tmp_path):
    limiter.take("vo_key_of_somebody", 5)
    assert not any("somebody" in path.name for path in (tmp_path / "rate").iterdir())


def test_rings_that_are_not_used_are_closed(limiter, monkeypatch):
    monkeypatch.setattr("bentos.limits.rate.OPEN_RINGS", 3)
    for number in range(9):
        assert allowed(limiter, f"client {number}", 2, times=3) == 2
    assert len(limiter._rings) == 3
    assert allowed(limiter, "client 0", 2) == 0


def test_a_folder_that_is_not_ours_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "rate").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MachineError, match="not this user's"):
        RateLimiter(tmp_path / "rate")


def test_a_full_disk_counts_in_memory_and_says_so(tmp_path, clock, caplog, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    limiter = RateLimiter(tmp_path / "rate", clock)
    assert allowed(limiter, limit=5, times=9) == 5
    assert "No space left" in caplog.text


def test_a_ring_holds_as_many_times_as_its_limit(tmp_path):
    ring = Ring(tmp_path / "ring", 7)
    for number in range(50):
        ring.take(number * MINUTE_MS)
    assert (tmp_path / "ring").stat().st_size == 8 * 8
    assert ring.take(50 * MINUTE_MS).remaining == 5


def service_folder(tmp_path: Path, letter: str = "a") -> Path:
    return tmp_path / (16 * letter)


def rings(folder: Path) -> int:
    return len(list(folder.glob("*-*")))


def test_rings_of_a_dead_server_stay_for_their_minute_and_then_go_with_their_folder(tmp_path, clock):
    dead = RateLimiter(service_folder(tmp_path), clock)
    assert allowed(dead, limit=5, times=9) == 5
    dead.close()
    clock.now_ms += MINUTE_MS // 2
    RateLimiter(service_folder(tmp_path, "b"), clock).close()
    assert rings(service_folder(tmp_path)) == 1
    clock.now_ms += MINUTE_MS
    RateLimiter(service_folder(tmp_path, "c"), clock).close()
    assert not service_folder(tmp_path).exists()


def test_the_folder_of_a_server_that_lives_is_left_alone(tmp_path, clock):
    lives = RateLimiter(service_folder(tmp_path), clock)
    allowed(lives, limit=5)
    clock.now_ms += 2 * MINUTE_MS
    RateLimiter(service_folder(tmp_path, "b"), clock).close()
    assert rings(service_folder(tmp_path)) == 1
    lives.close()


def test_what_is_not_a_service_folder_is_never_touched(tmp_path, clock):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ("d" * 16)).symlink_to(tmp_path / "elsewhere")
    RateLimiter(service_folder(tmp_path), clock).close()
    assert (tmp_path / "elsewhere").is_dir() and (tmp_path / ("d" * 16)).is_symlink()


def test_a_running_server_keeps_few_rings_beyond_its_clients_of_the_last_minute(tmp_path, clock):
    limiter = RateLimiter(service_folder(tmp_path), clock)
    for number in range(600):
        clock.now_ms += MINUTE_MS // 50
        limiter.take(f"client {number}", 5)
    assert 50 <= rings(service_folder(tmp_path)) <= 80
    limiter.close()


def test_workers_stay_exact_while_one_of_them_removes_rings(tmp_path, clock):
    """The other one has the removed ring mapped; what it counts there would be nobody else's."""
    one, other = (RateLimiter(service_folder(tmp_path), clock) for _ in range(2))
    assert allowed(one, limit=5) + allowed(other, limit=5) == 2
    clock.now_ms += 2 * MINUTE_MS
    for number in range(9):
        one.take(f"client {number}", 5)
    assert allowed(other, limit=5, times=3) + allowed(one, limit=5, times=9) == 5
    one.close()
    other.close()
