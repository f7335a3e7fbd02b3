"""A copy of a process that has used TensorFlow would wait for ever for threads that it has not."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kepler_train.contract.errors import BrokenContract

SCRIPT = """
import os, sys
import tensorflow
if "use" in sys.argv:
    tensorflow.constant(1.0) + 1
from kepler_train.train.copied_process import in_a_copy
in_a_copy(lambda: print(os.getpid(), flush=True))
print(os.getpid())
"""


@pytest.mark.parametrize(("words", "processes"), [((), 2), (("use",), 1)])
def test_work_is_done_in_a_copy_unless_tensorflow_was_used(words, processes):
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(set(done.stdout.split())) == processes


def in_a_process_of_its_own(script, *words):
    """What a script prints that uses this module's functions; tests before may have used TensorFlow in this process."""
    beginning = (
        "import os, sys, threading, time\n"
        "from kepler_train.train.copied_process import in_a_copy\n"
        f"from {__name__} import *\n"
    )
    command = [sys.executable, "-c", beginning + script, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr
    return done.stdout


def leave_a_process(file):
    left = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    left.start()
    Path(file).write_text(str(left.pid))


def end_beside_another(file):
    leave_a_process(file)
    os._exit(3)


LEAVES_RUNNING = """
started = time.monotonic()
assert not in_a_copy(lambda: leave_a_process(sys.argv[1]))
assert not in_a_copy(lambda: threading.Thread(target=time.sleep, args=(60,)).start())
assert time.monotonic() - started < 10
"""


def test_what_work_leaves_running_is_not_waited_for(tmp_path):
    in_a_process_of_its_own(LEAVES_RUNNING, str(tmp_path / "left"))
    left = Path("/proc", (tmp_path / "left").read_text())
    started = time.monotonic()
    while left.exists() and "State:\tZ" not in (left / "status").read_text():  # it may be reaped by nobody here
        assert time.monotonic() - started < 20
        time.sleep(0.05)


ENDS = """
started = time.monotonic()
print(in_a_copy(lambda: end_beside_another(sys.argv[1])))
assert time.monotonic() - started < 10
os.kill(int(open(sys.argv[1]).read()), 9)
"""


def test_a_copy_that_ends_is_not_waited_for_longer_than_it_lives(tmp_path):
    assert in_a_process_of_its_own(ENDS, str(tmp_path / "left")) == "exited with code 3\n"


def raise_at_length():
    raise BrokenContract("long " * 100_000)


RAISES = """
try:
    in_a_copy(raise_at_length)
except BrokenContract as error:
    print(len(str(error)))
"""


def test_an_error_of_any_length_is_raised_here():
    assert in_a_process_of_its_own(RAISES) == "500000\n"


def test_what_work_printed_last_is_not_lost():
    assert in_a_process_of_its_own("in_a_copy(lambda: print('the last word'))") == "the last word\n"
