"""What a killed process leaves running is ended; what belongs to a living one is not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tasks.reaper import MARK, left_behind

ROOT = Path(__file__).resolve().parents[3]
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
FLOW = """
import subprocess, sys, time
from tasks.reaper import guard
guard()
for code in ("import time; time.sleep(60)", {stubborn!r}):
    print(subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE).pid, flush=True)
time.sleep({lives_s})
"""


@pytest.fixture
def flow():
    """lives_s -> (the process, its two children): one that ends when asked, one that does not."""
    started = []

    def start(lives_s):
        code = FLOW.format(stubborn=STUBBORN, lives_s=lives_s)
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, [psutil.Process(int(process.stdout.readline())) for _ in range(2)]

    yield start
    for process in started:
        process.kill()
        process.wait()


def gone_in(seconds, processes):
    _, alive = psutil.wait_procs(processes, seconds)
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_children_of_a_killed_process_are_ended_even_those_that_do_not_listen(flow, number):
    process, children = flow(60)
    process.send_signal(number)
    process.wait()
    assert gone_in(15, children)


def test_children_of_a_living_process_are_left_alone(flow):
    process, children = flow(60)
    time.sleep(1.5)
    assert not gone_in(0.1, children) and process.poll() is None
    assert not {child.pid for child in children} & {left.pid for left in left_behind()}


def test_what_a_dead_flow_left_is_found_without_its_reaper():
    namespace = Path("/proc/self/ns/pid").readlink()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    env = {**os.environ, MARK: f"{namespace}/{dead.pid}/0"}
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=env)
    assert left.pid in {process.pid for process in left_behind()}
    left.kill()
    left.wait()
