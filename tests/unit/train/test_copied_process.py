"""A copy of a process that has used TensorFlow would wait for ever for threads that it has not."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kepler_train.contract.errors import BrokenContract
from kepler_train.train.copied_process import in_a_copy

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


def leave_a_process(file):
    left = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    left.start()
    file.write_text(str(left.pid))


def test_what_work_leaves_running_is_not_waited_for(tmp_path):
    started = time.monotonic()
    assert not in_a_copy(lambda: leave_a_process(tmp_path / "left"))
    assert not in_a_copy(lambda: threading.Thread(target=time.sleep, args=(60,)).start())
    assert time.monotonic() - started < 10
    left = Path("/proc", (tmp_path / "left").read_text())
    while left.exists() and "State:\tZ" not in (left / "status").read_text():  # it may be reaped by nobody here
        assert time.monotonic() - started < 20
        time.sleep(0.05)


def end_beside_another(file):
    leave_a_process(file)
    os._exit(3)


def test_a_copy_that_ends_is_not_waited_for_longer_than_it_lives(tmp_path):
    started = time.monotonic()
    assert in_a_copy(lambda: end_beside_another(tmp_path / "left")) == "exited with code 3"
    assert time.monotonic() - started < 10
    os.kill(int((tmp_path / "left").read_text()), 9)


def raise_at_length():
    raise BrokenContract("long " * 100_000)


def test_an_error_of_any_length_is_raised_here():
    with pytest.raises(BrokenContract, match="long long"):
        in_a_copy(raise_at_length)


def test_what_work_printed_last_is_not_lost():
    script = "from kepler_train.train.copied_process import in_a_copy\nin_a_copy(lambda: print('the last word'))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout == "the last word\n"
