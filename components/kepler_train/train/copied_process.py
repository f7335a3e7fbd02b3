"""Work in a copy of this process, since an author's class may end the process that it runs in, or have it killed."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

_PR_SET_PDEATHSIG = 1
_SECONDS_BETWEEN_LOOKS = 0.1


def in_a_copy(work: Callable[[], object]) -> str:
    """Do work in a copy of this process; tells how that ended if it did before the work was done, else nothing.

    Raises what the work raises. What it leaves running, such as joblib's processes, which wait five minutes for more,
    ends with the copy. That is forked: it has all that is imported here, and no other threads than its own. Where
    TensorFlow has been used, it would wait for its threads for ever: there the work is done without a copy.
    """
    if _has_used_tensorflow():
        work()
        return ""
    forking = multiprocessing.get_context("fork")
    receiver, sender = forking.Pipe(duplex=False)
    with receiver, sender:
        copy = forking.Process(target=_work, args=(work, sender))
        copy.start()
        try:
            while copy.is_alive() and not receiver.poll(_SECONDS_BETWEEN_LOOKS):
                pass
            if not receiver.poll():
                return _ending(copy.exitcode or 0)
            raised: Exception | None = receiver.recv()
        finally:
            copy.kill()
            copy.join()
    if raised is not None:
        raise raised
    return ""


def _has_used_tensorflow() -> bool:
    """Tell whether TensorFlow was more than imported, by what it makes when it is first used."""
    module = sys.modules.get("tensorflow.python.eager.context")
    return getattr(module, "_context", None) is not None


def _work(work: Callable[[], object], sender: Connection) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # whoever kills this task knows of no copy
    raised: Exception | None = None
    try:
        work()
    except Exception as cause:  # noqa: BLE001 (raised again where it was asked for)
        traceback.print_exc()
        raised = cause
    for left in multiprocessing.active_children():
        if left.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(left.pid, signal.SIGKILL)  # joblib's have no `kill`
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()  # whoever receives the answer kills this process
    sender.send(raised)


def _ending(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    return f"was ended by signal {-code}" + ("; out of memory?" if -code == signal.SIGKILL else "")
