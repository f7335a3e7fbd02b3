"""Work in processes of its own, forked so that a hundred of them cost no imports."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Sequence

DONE, FAILED, REFUSED = 0, 1, 3


def start(work: Callable[[], object], refusals: type[Exception] | tuple[type[Exception], ...] = ()) -> int:
    """Start work in a child process; it ends with REFUSED where it raises one of the expected errors."""
    child = os.fork()
    if child:
        return child
    code = FAILED
    try:
        work()
        code = DONE
    except refusals:
        code = REFUSED
    except BaseException:  # noqa: BLE001 (a child must not go on as a second test run)
        traceback.print_exc()
    finally:
        os._exit(code)


def outcome(child: int) -> int:
    """Wait for a child: its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def outcomes(
    works: Sequence[Callable[[], object]], refusals: type[Exception] | tuple[type[Exception], ...] = ()
) -> list[int]:
    """Do all at once."""
    return [outcome(child) for child in [start(work, refusals) for work in works]]


def kill_self() -> None:
    """End this process as a power cut would end it."""
    os.kill(os.getpid(), signal.SIGKILL)
