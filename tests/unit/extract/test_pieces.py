from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kepler_train.extract import pieces
from kepler_train.extract.pieces import CutShort, NoSeries, SeriesPieces

# Texts made of what the cutter looks for, so that one in a label value would be mistaken if it could be.
tokens = [*'{}[]",:\\ \n"é', '{"metric"', "]]}]", '[{"metric":{', "metric"]
tricky = st.lists(st.sampled_from(tokens), max_size=5).map("".join)
labels = st.dictionaries(tricky, tricky, max_size=3).map(lambda others: {"__name__": "x", **others})
values = st.lists(st.tuples(st.floats(0, 2e9), tricky), max_size=3)
series = st.tuples(labels, values).map(lambda pair: {"metric": pair[0], "values": pair[1]})
documents = st.dictionaries(st.sampled_from(["a", "b", "result", "d"]), st.lists(series, max_size=5), max_size=4)


def cut(
    content: bytes, piece_bytes: int, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[dict[str, list[Any]], bytes]:
    monkeypatch.setattr(pieces, "PIECE_BYTES", piece_bytes)
    found: dict[str, list[Any]] = {}
    stream = SeriesPieces(io.BytesIO(content).read, **options)
    for name, piece in stream:
        found.setdefault(name, []).extend(json.loads(piece))
    return found, stream.skeleton


@given(document=documents, piece_bytes=st.integers(1, 300), spaced=st.booleans())
def test_whatever_the_labels_and_the_cuts_every_series_comes_once(
    document: dict[str, list[Any]], piece_bytes: int, spaced: bool
) -> None:
    content = json.dumps(document, separators=None if spaced else (",", ":")).encode()
    with pytest.MonkeyPatch.context() as monkeypatch:
        found, skeleton = cut(content, piece_bytes, monkeypatch)
    assert found == json.loads(json.dumps({name: listed for name, listed in document.items() if listed}))
    assert json.loads(skeleton) == {name: [] for name in document}


@given(answer=st.lists(series, max_size=6), piece_bytes=st.integers(1, 400))
def test_an_answer_leaves_its_envelope_with_what_follows_the_series(answer: list[Any], piece_bytes: int) -> None:
    envelope = {"status": "success", "data": {"resultType": "matrix", "result": []}, "warnings": ["a ]}]} b"]}
    content = json.dumps(envelope, separators=(",", ":")).replace("[]", json.dumps(answer, separators=(",", ":")), 1)
    with pytest.MonkeyPatch.context() as monkeypatch:
        found, skeleton = cut(content.encode(), piece_bytes, monkeypatch, one_list=True)
    assert found.get("result", []) == json.loads(json.dumps(answer))
    assert json.loads(skeleton) == envelope


def test_a_document_cut_anywhere_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"metric": {"__name__": "x", "a": "b"}, "values": [[1.5, "2"]]}
    content = json.dumps({"x": [one, one], "y": [one]}, separators=(",", ":")).encode()
    for length in range(len(content)):
        try:
            _, skeleton = cut(content[:length], 37, monkeypatch)
        except CutShort:
            continue
        with pytest.raises(ValueError, match=r".*"):
            json.loads(skeleton)


def test_pieces_do_not_grow_with_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1000)
    one = b'{"metric":{"__name__":"x"},"values":[[1,"2"]]}'
    content = b'{"x":[' + b",".join([one] * 1000) + b"]}"
    sizes = [len(piece) for _, piece in SeriesPieces(io.BytesIO(content).read)]
    assert len(sizes) > 40
    assert max(sizes) <= 1000 + len(one) + 2


def test_a_stream_in_which_no_series_begins_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1000)
    monkeypatch.setattr(pieces, "MOST_HEAD_BYTES", 5000)
    stream = io.BytesIO(b'{"x": [\n {\n  "metric": {' + b" " * 1_000_000)
    with pytest.raises(NoSeries, match="no series begins in the first 6000 bytes"):
        list(SeriesPieces(stream.read))
    assert stream.tell() == 6000


def test_a_series_may_be_longer_than_what_comes_before_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "MOST_HEAD_BYTES", 500)
    one = {"metric": {"__name__": "x"}, "values": [[moment, "2"] for moment in range(1000)]}
    found, _ = cut(json.dumps({"x": [one]}).encode(), 100, monkeypatch)
    assert found == {"x": [one]}
