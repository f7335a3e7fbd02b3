"""Places that a command will write to, tried before its work: nothing is made there, and nothing is left."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile

from kepler_train.contract.errors import NotWritable, WrongUsage


def folder_to_write(text: str) -> Path:
    """Take a folder, which need not be there yet; raises NotWritable where no file could be written into it."""
    folder = Path(text)
    try:
        there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
        with TemporaryFile(dir=there):
            pass
    except OSError as cause:
        raise NotWritable(
            f"cannot write to {folder}: {cause.strerror}; choose another place, or see to its permissions and room"
        ) from cause
    return folder


def file_to_write(text: str) -> Path:
    """Take a file; raises WrongUsage for a folder, NotWritable where it could not be written."""
    path = Path(text)
    folder_to_write(str(path.parent))
    if path.is_dir():
        raise WrongUsage(f"{path} is a folder; name a file")
    return path
