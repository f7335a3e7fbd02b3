"""The command line as a user calls it, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str
    result: dict[str, Any]
    """What `--json` wrote, empty where nothing."""

    def decisions(self) -> dict[str, dict[str, Any]]:
        """Decisions by `Group/model`."""
        return {f"{one['group']}/{one['model_name']}": one for one in self.result["decisions"]}


def kepler_train(*words: object, folder: Path, environment: Mapping[str, str] | None = None) -> Done:
    """Run `kepler-train WORDS` in `folder`; environment is added to this process's."""
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    json_option = ["--json", str(result)] if words[0] == "run" else []
    main = "import sys; from kepler_train.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", main, *map(str, words), *json_option],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
    )
    found = json.loads(result.read_text()) if result.exists() else {}
    return Done(done.returncode, done.stdout, done.stderr, found)
