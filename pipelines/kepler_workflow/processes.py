"""Processes of a local run's tasks, forked from one that has imported what they need.

kfp takes an interpreter a second to import, scikit-learn two and TensorFlow five: longer than most tasks work.
Importing starts no threads, so a copy of a process that has only imported is as good as one that did so itself.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

BY_STEPS = (
    "kfp.dsl.executor_main",
    "kepler_train.assemble.step",
    "kepler_train.publish.step",
    "kepler_train.report.step",
)
"""What tasks import that neither train nor judge models."""

BY_MODELS = (
    "kfp.dsl.executor_main",
    "kepler_train.report.evaluation",
    "kepler_train.evaluate.step",
    "kepler_train.train.step",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "skops.io",
    "pandas",
    "tensorflow",
)
"""What tasks import that train or judge models."""

LOG_TAIL = 15
"""Lines shown of a task that died without an exception."""

_MESSAGE_BYTES = 1 << 20
_SECONDS_BETWEEN_LOOKS = 0.02


def error_in(log: Path) -> str:
    """The error that ended a task: of ours the message, of others the type too; else what the log ends with."""
    text = log.read_text(errors="replace").strip() if log.is_file() else "the task did not start"
    _, traceback, last = text.rpartition("Traceback (most recent call last):")
    raised = re.search(r"^(?:(?P<ours>kepler_train)\.)?[\w.]+(?:: (?P<message>.*))?\Z", last, re.MULTILINE | re.DOTALL)
    if not traceback or raised is None:
        return "\n".join(text.splitlines()[-LOG_TAIL:])
    return raised["message"] if raised["ours"] and raised["message"] else raised[0]


class ForkServer:
    """A process that forks tasks of kfp, until it is closed."""

    def __init__(self, python: str, modules: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Start to import in this interpreter; whoever asks earlier waits. What importing says goes to `log`."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Another runtime's interpreter may have not this package; this file needs nothing of it.
        command = [python, "-c", Path(__file__).read_text(encoding="utf-8"), str(theirs.fileno()), *modules]
        with theirs, log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603
                command, stdout=output, stderr=output, env=environment, pass_fds=[theirs.fileno()]
            )

    def close(self) -> None:
        """End the process and what it runs, and wait for it, so that what it used counts as this process's."""
        self._control.close()
        self._process.terminate()
        self._process.wait()

    def call(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str]
    ) -> tuple[int, resource.struct_rusage]:
        """Run the command of one of kfp's lightweight components; gives its exit code and what it used."""
        job = json.dumps({"command": command, "log": str(log), "environment": dict(environment)}).encode()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            # As a file, since a message has no room for the names of a thousand recordings.
            with theirs, os.fdopen(os.memfd_create("job"), "wb") as file:
                file.write(job)
                file.flush()
                with contextlib.suppress(OSError):
                    socket.send_fds(self._control, [b"job"], [theirs.fileno(), file.fileno()])
            answer = ours.recv(_MESSAGE_BYTES)
        if not answer:  # the server was closed, or killed for its memory, and with it who waits for its tasks
            return -signal.SIGKILL, resource.struct_rusage([0] * 16)
        status, usage = json.loads(answer)
        return os.waitstatus_to_exitcode(status), resource.struct_rusage(usage)


def _serve(control: socket.socket) -> None:
    """Fork a process per message, and answer each on the socket that came with it; end when nobody can ask any more."""
    running: dict[int, socket.socket] = {}
    try:
        while True:
            asked, _, _ = select.select([control], [], [], _SECONDS_BETWEEN_LOOKS if running else None)
            if asked:
                message, descriptors, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, 2)
                if not message:
                    return
                reply = socket.socket(fileno=descriptors[0])
                with os.fdopen(descriptors[1], "rb") as file:
                    file.seek(0)  # its place is the sender's, who is at its end
                    job = json.load(file)
                process = os.fork()
                if not process:
                    for held in (control, reply, *running.values()):
                        held.close()  # it closes for who waits when this server dies, not when this task does
                    _run(**job)
                running[process] = reply
            while running:
                process, status, usage = os.wait4(-1, os.WNOHANG)
                if not process:
                    break
                with running.pop(process) as reply:
                    reply.send(json.dumps([status, usage]).encode())
    finally:
        for process in running:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _run(command: Sequence[str], log: str, environment: Mapping[str, str]) -> None:
    """Do in this process what kfp's command does in a new one, and end it.

    The command is `sh -ec SCRIPT SOURCE ARGUMENTS…`, where the script writes the source to a file and starts kfp's
    executor on it (kfp.dsl.component_factory).
    """
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with open(log, "ab", buffering=0) as file:  # noqa: PTH123
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.environ.clear()
        os.environ.update(environment, _KFP_RUNTIME="true")
        tempfile.tempdir = None
        source = Path(tempfile.mkdtemp()) / "ephemeral_component.py"
        source.write_text(command[3], encoding="utf-8")
        sys.argv = ["executor_main", "--component_module_path", str(source), *command[4:]]
        importlib.import_module("kfp.dsl.executor_main").executor_main()
        code = 0
    except BaseException:  # noqa: BLE001 (as an interpreter does: the trace into the log, and exit code 1)
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _preload(modules: Sequence[str]) -> None:
    for module in modules:
        with contextlib.suppress(ImportError):  # the task that needs it says so
            importlib.import_module(module)
    gc.freeze()  # else collecting garbage would copy every page of it


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _preload(sys.argv[2:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    _serve(socket.socket(fileno=int(sys.argv[1])))
