"""Keys as operators make them: by openssl, the private one in a file, the public one in another."""

from __future__ import annotations

import subprocess
from collections.abc import MutableMapping
from pathlib import Path

SIGNING_KEY_FILE = "KEPLER_TRAIN_SIGNING_KEY_FILE"
VERIFY_KEYS_FILE = "KEPLER_TRAIN_VERIFY_KEYS_FILE"
UNSIGNED = "KEPLER_TRAIN_UNSIGNED"


def make_key(folder: Path, name: str = "signing") -> tuple[Path, Path]:
    """Make a pair of keys; returns the files of the private and of the public one."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return private, public


def use_new_key(folder: Path, environment: MutableMapping[str, str]) -> None:
    """Make a pair of keys and point an environment at it."""
    private, public = make_key(folder)
    environment.pop(UNSIGNED, None)
    environment.update({SIGNING_KEY_FILE: str(private), VERIFY_KEYS_FILE: str(public)})
