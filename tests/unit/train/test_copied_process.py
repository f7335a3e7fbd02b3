"""A copy of a process that has used TensorFlow would wait for ever for threads that it has not."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
