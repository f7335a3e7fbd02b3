"""Zip archives with their files at the root: the same files give the same bytes, and nothing hostile is unpacked.

The estimator unpacks whatever it was given. Here an archive is looked through first, and refused as a whole for one
name, one kind of file or compression or one size that no published model has: nothing of it is written then.
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from kepler_train.contract.errors import NotLoadable
from kepler_train.contract.models import METADATA_FILE

MOST_FILES = 64
MOST_BYTES = 1 << 28
"""Of an archive, and of what is in it."""
MOST_EXPANSION = 100
"""How much larger a file may be than what is stored of it."""

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE, _LARGE_SIGNATURE = b"PK\x05\x06", b"PK\x06\x07"
_LARGE_LOCATOR_BYTES = 20
_MOST_DIRECTORY_BYTES = MOST_FILES * 512
_PIECE = 1 << 20


def pack(files: Mapping[str, bytes]) -> bytes:
    """Pack files, metadata.json first and then by name, uncompressed since compressors differ from host to host."""
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files, key=lambda name: (name != METADATA_FILE, name)):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = _UNIX, (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, files[name])
    return packed.getvalue()


def unpack(content: bytes, origin: str) -> dict[str, bytes]:
    """Unpack an archive's files into memory; name to content.

    Raises NotLoadable, naming `origin` and the file in it, for what is no archive of plain files at its root, or is
    larger than a model can be: judged by names and sizes alone, before anything is unpacked.
    """
    _require_small_directory(content, origin)
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            entries = archive.infolist()
            _require_plain_files(entries, origin)
            return {entry.filename: _read(archive, entry, origin) for entry in entries}
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError, RuntimeError) as cause:
        raise NotLoadable(f"{origin} cannot be unpacked: {cause}; publish it again") from cause


def _require_small_directory(content: bytes, origin: str) -> None:
    """Look at the archive's end, which says how long its list of files is, before that list is read."""
    if len(content) > MOST_BYTES:
        raise NotLoadable(f"{origin} has more than {MOST_BYTES} bytes; no model needs that")
    end = content[-_END.size :]
    locator = content[-_END.size - _LARGE_LOCATOR_BYTES : -_END.size]
    if len(end) < _END.size or end[:4] != _END_SIGNATURE or locator[:4] == _LARGE_SIGNATURE:
        raise NotLoadable(f"{origin} is no zip archive, is cut off, or has something after its end; publish it again")
    _, _, _, _, files, directory_bytes, _, _ = _END.unpack(end)
    if files > MOST_FILES or directory_bytes > _MOST_DIRECTORY_BYTES:
        raise NotLoadable(f"{origin} lists {files} files in {directory_bytes} bytes; a model has {MOST_FILES} at most")


def _require_plain_files(entries: list[zipfile.ZipInfo], origin: str) -> None:
    if len(entries) > MOST_FILES:
        raise NotLoadable(f"{origin} lists {len(entries)} files; a model has {MOST_FILES} at most")
    seen: set[str] = set()
    for entry in entries:
        name = f"{origin} holds {entry.orig_filename[:200]!r}"
        if not _PLAIN.fullmatch(entry.orig_filename) or entry.filename != entry.orig_filename:
            raise NotLoadable(f"{name}, which is no plain file name; a model's files are at the archive's root")
        if entry.filename in seen:
            raise NotLoadable(f"{name} twice; readers would disagree which one is meant")
        seen.add(entry.filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in {0, stat.S_IFREG}:
            raise NotLoadable(f"{name}, which is a link or another special file; a model has plain files only")
        if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise NotLoadable(f"{name}, which is compressed in a way that no published model is; publish it again")
        if entry.file_size > MOST_EXPANSION * max(entry.compress_size, 1):
            raise NotLoadable(f"{name}, {entry.file_size} bytes made of {entry.compress_size}; no model is so empty")
    total = sum(entry.file_size for entry in entries)
    if total > MOST_BYTES:
        raise NotLoadable(f"{origin} unpacks to {total} bytes, more than {MOST_BYTES}; no model needs that")


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, origin: str) -> bytes:
    """Read one file, and no more of it than it says it has."""
    pieces, left = [], entry.file_size
    with archive.open(entry) as file:
        while piece := file.read(min(_PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                raise NotLoadable(f"{origin} holds {entry.filename!r}, which is larger than it says; publish it again")
            pieces.append(piece)
    if left:
        raise NotLoadable(f"{origin} holds {entry.filename!r}, which is smaller than it says; publish it again")
    return b"".join(pieces)


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write unpacked files into a new folder; their names are plain."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
