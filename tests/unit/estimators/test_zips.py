"""Archives: the same files give the same bytes, and a hostile one is refused before anything of it is unpacked."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from io import BytesIO

import pytest

from kepler_train.contract.errors import NotLoadable
from kepler_train.estimators import zips

FILES = {"model.sav": b"m" * 1000, "scaler.pkl": b"s", "metadata.json": b"{}"}
URL = "http://store/CounterOnly.zip"


def zipped(*entries, compression=zipfile.ZIP_STORED, comment=b""):
    """An archive of (name or ZipInfo, content)."""
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)
        archive.comment = comment
    return packed.getvalue()


def special(name, kind):
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
    return entry


def refusal(content):
    with pytest.raises(NotLoadable) as refused:
        zips.unpack(content, URL)
    assert URL in str(refused.value)
    return str(refused.value)


def test_what_was_packed_comes_back():
    assert zips.unpack(zips.pack(FILES), URL) == FILES


def test_the_same_files_give_the_same_bytes_whatever_their_order(monkeypatch):
    packed = zips.pack(FILES)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    os.umask(os.umask(0o077))
    assert zips.pack(dict(reversed(FILES.items()))) == packed
    assert zipfile.ZipFile(BytesIO(packed)).namelist() == ["metadata.json", "model.sav", "scaler.pkl"]
    assert {entry.date_time for entry in zipfile.ZipFile(BytesIO(packed)).infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_compressed_archive_of_another_tool_is_read():
    assert zips.unpack(zipped(*FILES.items(), compression=zipfile.ZIP_DEFLATED), URL) == FILES


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_is_compressed_in_another_way_is_refused(compression):
    assert "'model.sav', which is compressed in a way" in refusal(zipped(*FILES.items(), compression=compression))


@pytest.mark.parametrize(
    "name",
    [
        "../model.sav",
        "..",
        "/etc/cron.d/x",
        "a/b",
        "a\\b",
        "C:\\x",
        ".hidden",
        "folder/",
        "é.pkl",
        "x" * 300,
    ],
)
def test_a_name_that_is_not_a_plain_file_at_the_root_is_refused(name):
    assert "no plain file name" in refusal(zipped((name, b"x")))


def test_a_name_that_readers_would_cut_off_is_refused():
    assert "no plain file name" in refusal(zipped(("x_sh.sav", b"x")).replace(b"x_sh.sav", b"x.sh\0sav"))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_another_special_file_is_refused(kind):
    assert "'model.sav', which is a link" in refusal(zipped((special("model.sav", kind), "/etc/passwd")))


def test_a_name_that_is_there_twice_is_refused():
    with pytest.warns(UserWarning, match="Duplicate"):
        content = zipped(("model.sav", b"good"), ("model.sav", b"bad"))
    assert "'model.sav' twice" in refusal(content)


def test_a_bomb_is_refused_by_its_ratio():
    bomb = zipped(("model.sav", b"\0" * (50 << 20)), compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    assert "no model is so empty" in refusal(bomb)


def test_too_much_in_all_is_refused_before_any_is_unpacked(monkeypatch):
    content = zipped(
        *((f"{number}.pkl", os.urandom(100) * 20) for number in range(4)), compression=zipfile.ZIP_DEFLATED
    )
    monkeypatch.setattr(zips, "MOST_BYTES", 5_000)
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    assert "unpacks to 8000 bytes, more than 5000" in refusal(content)
    assert "has more than 5000 bytes" in refusal(b"x" * 5_001)


def test_too_many_files_are_refused_before_the_list_of_them_is_read(monkeypatch):
    content = zipped(*((f"{number}.pkl", b"") for number in range(100_000)))
    monkeypatch.setattr(zips.zipfile, "ZipFile", None)
    assert "lists" in refusal(content) or "no zip archive" in refusal(content)


def test_a_list_that_is_longer_than_it_says_is_refused():
    content = bytearray(zipped(*((f"{number}.pkl", b"") for number in range(100))))
    struct.pack_into("<HH", content, len(content) - 22 + 8, 1, 1)
    assert "100 files" in refusal(bytes(content))


def test_a_file_that_is_larger_than_it_says_is_refused():
    content = bytearray(zipped(("model.sav", b"x" * 10_000), compression=zipfile.ZIP_DEFLATED))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<L", content, content.index(signature) + offset, 10)
    assert "cannot be unpacked" in refusal(bytes(content))


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"<html>404</html>" * 10, zips.pack(FILES)[:-1], zips.pack(FILES) + b"x"]
)
def test_what_is_no_whole_archive_is_refused(content):
    assert "no zip archive" in refusal(content)


def test_a_damaged_file_is_refused():
    content = bytearray(zips.pack(FILES))
    content[content.index(b"mmmm") + 5] ^= 1
    assert "Bad CRC" in refusal(bytes(content))


def test_an_encrypted_file_is_refused():
    content = bytearray(zips.pack(FILES))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    assert "cannot be unpacked" in refusal(bytes(content))
