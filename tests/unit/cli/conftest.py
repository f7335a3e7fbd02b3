from __future__ import annotations

import pytest

from kepler_train.cli import main


@pytest.fixture
def kepler_train(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder; returns exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run
