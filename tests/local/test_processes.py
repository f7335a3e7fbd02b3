"""Tasks forked from one process: they end as a process of their own would, and so is told how."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import pytest

from kepler_workflow.processes import BY_STEPS, ForkServer, error_in


def command(body: str, folder: Path) -> list[str]:
    """A component's command as kfp writes it."""
    source = f"def component():\n    {body}\n"
    inputs = json.dumps({"inputs": {}, "outputs": {"outputFile": str(folder / "outputs.json")}})
    words = ["--executor_input", inputs, "--function_to_execute", "component"]
    return ["sh", "-ec", "the script that kfp starts a component with", source, *words]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with closing(ForkServer(sys.executable, BY_STEPS, os.environ, tmp_path_factory.mktemp("server") / "log")) as server:
        yield server


@pytest.fixture
def end(server, tmp_path):
    """Run a component's body; gives its exit code, the CPU seconds used and its log."""

    def run(body: str) -> tuple[int, float, Path]:
        log = tmp_path / "log"
        environment = {**os.environ, "TMPDIR": str(tmp_path), "ASKED": "yes"}
        code, usage = server.call(command(body, tmp_path), log, environment)
        return code, usage.ru_utime + usage.ru_stime, log

    return run


def test_a_task_sees_its_own_environment_and_writes_to_its_own_log(end):
    code, _, log = end("import os, sys; print(os.environ['ASKED']); print('aside', file=sys.stderr)")
    assert code == 0
    assert {"yes", "aside"} <= set(log.read_text().splitlines())


def test_a_task_may_be_given_as_much_as_the_names_of_thousands_of_recordings(end):
    code, _, log = end(f"print(len({'x' * 1_000_000!r}))")
    assert code == 0
    assert "1000000" in log.read_text().splitlines()


def test_an_exception_is_exit_code_1_and_ends_the_log(end):
    code, _, log = end("raise ZeroDivisionError('no pods')")
    assert code == 1
    assert error_in(log) == "ZeroDivisionError: no pods"


def test_a_killed_task_is_told_by_its_signal_and_kills_no_other(end):
    assert end("import os; os.kill(os.getpid(), 9)")[0] == -signal.SIGKILL
    assert end("pass")[0] == 0


def test_what_a_task_used_is_its_own(end):
    _, used, _ = end("import time\n    while time.process_time() < 0.5: pass")
    assert 0.4 < used < 1.5
    _, used, _ = end("pass")
    assert used < 0.4


def test_tasks_run_side_by_side(end):
    body = dedent("""import pathlib, tempfile, time
    pathlib.Path(tempfile.gettempdir(), {0!r}).touch()
    while not pathlib.Path(tempfile.gettempdir(), {1!r}).exists(): time.sleep(0.01)""")
    threads = [threading.Thread(target=end, args=(body.format(*names),)) for names in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)


def test_closing_ends_what_runs_and_a_killed_server_is_a_killed_task(tmp_path):
    for ended in (ForkServer.close, lambda server: os.kill(server._process.pid, signal.SIGKILL)):
        server = ForkServer(sys.executable, BY_STEPS, os.environ, tmp_path / "log")
        words = command("import time; print('here', flush=True); time.sleep(60)", tmp_path)
        codes = []
        log = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        thread = threading.Thread(target=lambda: codes.append(server.call(words, log, os.environ)[0]))  # noqa: B023
        thread.start()
        while "here" not in (log.read_text() if log.exists() else ""):
            time.sleep(0.05)
        ended(server)
        thread.join(timeout=60)
        assert codes == [-signal.SIGKILL]
