"""Ctrl-C: the run ends at once, starts nothing more, and leaves nothing behind that it had put in place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys


def test_an_interrupted_run_ends_at_once(tmp_path, simulated):
    main = "import sys; from kepler_train.cli import main; sys.exit(main())"
    words = ["run", "--source", "recording", *map(str, simulated), "--groups", "BPFOnly", "CounterOnly"]
    process = subprocess.Popen(
        [sys.executable, "-c", main, *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    before = []
    while "assemble" not in "".join(before):
        before.append(process.stderr.readline())
    os.killpg(process.pid, signal.SIGINT)
    out, after = process.communicate(timeout=60)

    assert process.returncode == 130
    assert after.splitlines()[-1] == "kepler-train: interrupted"
    assert "Traceback" not in after
    assert out == ""
    # What ended before the signal came, and what was under way, is told of: of the run's 25 tasks, but its beginning.
    assert len(before) + len(after.splitlines()) < 15
    (folder,) = (tmp_path / "runs").iterdir()
    assert {path.name for path in folder.iterdir()} == {"artifacts", "logs"}
