"""Extraction: from a Prometheus, or from recordings, to a window on disk."""

from __future__ import annotations

import logging
import shutil
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path

from kepler_train.contract.documents import writing
from kepler_train.contract.errors import SourceError, WrongUsage
from kepler_train.contract.window import (
    SHARDS,
    SUMMARY_FILE,
    RecordingSource,
    Window,
    WindowSummary,
    shard_node,
    shards_of,
)
from kepler_train.extract.convert import Converter
from kepler_train.extract.forms import FORMS
from kepler_train.extract.prometheus import PrometheusReader
from kepler_train.extract.recording import RecordingReader
from kepler_train.extract.shards import Shard, ShardWriter
from kepler_train.extract.share import WHOLE, Share
from kepler_train.extract.summary import refuse_empty, summarise

_log = logging.getLogger("kepler_train")

_PLAN_FILE = "asked.json"
_SCRATCH = "scratch"
_LONGEST_NAME = 240
"""Of a folder, in bytes: file systems take 255, and what is not yet complete has more in its name."""
_SECONDS_BETWEEN_LINES = 10.0

Reader = PrometheusReader | RecordingReader


def run(window: Window, out: Path, share: Share = WHOLE) -> WindowSummary:
    """Extract a window, or the nodes of a share, into `out`: its shards, and `window.json` when all are there.

    Called again with the same window after an interruption, it goes on with the shards that are missing. Memory does
    not grow with the window. Raises SourceError where the source fails, NoData where it holds nothing to train on (a
    share without nodes is an empty window, since others may have some), WrongUsage where `out` holds another window,
    NotWritable where it cannot be written.
    """
    with writing(out):
        _claim(window, out, share)
        scratch = out / _SCRATCH
        shutil.rmtree(scratch, ignore_errors=True)
        with closing(_reader(window, scratch)) as reader:
            of_all = reader.shards()
            shards = [shard for shard in of_all if share.holds(shard.node)]
            _refuse_long_names(shards)
            missing = [shard for shard in shards if not (out / SHARDS / shard.name).is_dir()]
            if len(missing) < len(shards):
                _log.info("extract: %d of %d shards are there already", len(shards) - len(missing), len(shards))
            _write_all(missing, reader, window.interval_seconds, out)
            summary = summarise(window, out, reader.spans)
        if len(shards) == len(of_all):
            refuse_empty(summary)
        shutil.rmtree(scratch, ignore_errors=True)
        summary.write(out / SUMMARY_FILE)
        return summary


def _refuse_long_names(shards: list[Shard]) -> None:
    for shard in shards:
        if len(shard.name) > _LONGEST_NAME:
            raise SourceError(
                f"the node {shard.node[:40]}… has a name of {len(shard.node)} characters, too long for a folder's; "
                "give it a shorter label `instance`, by relabelling"
            )


def _reader(window: Window, scratch: Path) -> Reader:
    if isinstance(window.source, RecordingSource):
        return RecordingReader(window.source.files, window.spans, window.interval_seconds, scratch)
    return PrometheusReader(window.source, window.spans)


def _claim(window: Window, out: Path, share: Share) -> None:
    """Mark the folder as this window's, or make sure that it is, and holds no node of another share."""
    asked = out / _PLAN_FILE
    if asked.exists():
        other = Window.read(asked)
        if other != window:
            raise WrongUsage(f"{out} holds the window of run {other.run_id}; give an empty folder to {window.run_id}")
        if stranger := next((node for node in map(shard_node, shards_of(out)) if not share.holds(node)), None):
            raise WrongUsage(
                f"{out} holds {stranger}, which is not in share {share.number} of {share.of}; give another"
            )
    else:
        window.write(asked)


def _write_all(shards: list[Shard], reader: Reader, interval_seconds: float, out: Path) -> None:
    """Write shards, as many at once as the reader has streams; the first fault ends all."""
    progress = _Progress(len(shards))
    with ThreadPoolExecutor(reader.streams, thread_name_prefix="extract") as pool:
        written = [pool.submit(_write, shard, reader, interval_seconds, out) for shard in shards]
        try:
            for done in as_completed(written):
                progress.add(done.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _write(shard: Shard, reader: Reader, interval_seconds: float, out: Path) -> int:
    converter = Converter(shard.node, interval_seconds)
    with ShardWriter(out / SHARDS / shard.name, out / _SCRATCH) as writer:
        for form in FORMS:
            for answer in reader.answers(form, shard):
                writer.add(form.table, *converter.convert(form, answer))
    return writer.samples


class _Progress:
    """Says now and then how far extraction is, how fast it goes, and how long it will yet take."""

    def __init__(self, shards: int) -> None:
        self._shards, self._done, self._samples = shards, 0, 0
        self._began = self._said = time.monotonic()

    def add(self, samples: int) -> None:
        self._done += 1
        self._samples += samples
        now = time.monotonic()
        if now - self._said < _SECONDS_BETWEEN_LINES and self._done < self._shards:
            return
        self._said = now
        seconds = max(now - self._began, 1e-3)
        left = seconds / self._done * (self._shards - self._done)
        _log.info(
            "extract: %d of %d shards, %d samples, %.0f samples/s, %s left",
            self._done,
            self._shards,
            self._samples,
            self._samples / seconds,
            f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s",
        )
