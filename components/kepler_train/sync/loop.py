"""`sync` again and again, beside an estimator, and how that is getting on."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from traceback import extract_tb

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from kepler_train.contract.errors import (
    BrokenContract,
    DamagedModel,
    KeplerTrainError,
    NothingServed,
    NotWritable,
    StoreError,
    UntrustedModel,
    WrongUsage,
)
from kepler_train.sync.models_folder import ModelSet, find_current

FIRST_RETRY_SECONDS = 5.0

_KINDS = (StoreError, DamagedModel, UntrustedModel, NothingServed, NotWritable, BrokenContract, WrongUsage)
_PREFIX = "kepler_train_sync"
_log = logging.getLogger("kepler_train.sync")


class Status(Collector):
    """Which set is in use, since when, and what failed; as metrics, too.

    Ages go by a clock that nobody sets. Only that of a set found at the start begins with the time it was made, and
    where that lies in the future it begins with 0.
    """

    def __init__(self, current: ModelSet | None) -> None:
        self.current = current
        self.problem = "no sync yet"
        """Why the last sync failed; empty where it did not."""
        self.failures = Counter({kind.__name__: 0 for kind in _KINDS})
        self._succeeded = time.monotonic()
        self._made = self._succeeded
        if current is not None:
            self._made -= max(0.0, (datetime.now(timezone.utc) - current.made).total_seconds())

    def succeed(self, current: ModelSet) -> None:
        """Note that the store was asked, and that this set is what it serves."""
        self._succeeded = time.monotonic()
        if self.current is None or current.made != self.current.made:
            self._made = self._succeeded
        self.current, self.problem = current, ""

    def fail(self, error: Exception, current: ModelSet | None) -> None:
        """Note an error, and the set that stays in use."""
        self.failures[type(error).__name__] += 1
        self.current, self.problem = current, _told(error)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Go through the metrics, as they are now."""
        now, current = time.monotonic(), self.current
        models = GaugeMetricFamily(f"{_PREFIX}_model_info", "A model in use.", labels=["model", "version"])
        sets = GaugeMetricFamily(
            f"{_PREFIX}_set_info", "The set of models in use.", labels=["version", "dialect", "runtime"]
        )
        age = GaugeMetricFamily(f"{_PREFIX}_set_age_seconds", "Time since the set in use was made.")
        if current is not None:
            for model, version in current.models.items():
                models.add_metric([model, version], 1)
            sets.add_metric([current.version, current.dialect, current.runtime], 1)
            age.add_metric([], now - self._made)
        success = f"{_PREFIX}_seconds_since_success"
        failures = CounterMetricFamily(f"{_PREFIX}_failures", "Syncs that failed.", labels=["kind"])
        for kind, count in self.failures.items():
            failures.add_metric([kind], count)
        yield from (models, sets, age, failures)
        yield GaugeMetricFamily(
            success, "Time since a sync succeeded, or since the start where none has.", value=now - self._succeeded
        )


def sync_forever(sync_once: Callable[[], ModelSet], into: Path, every_seconds: float, status: Status) -> None:
    """Sync into a folder at intervals, sooner after a failure; never returns, whatever store, network or disk do."""
    failed = 0
    while True:
        before = status.current
        try:
            status.succeed(sync_once())
        except Exception as error:  # noqa: BLE001 (whoever ends here leaves its estimator without new models for good)
            wait = min(every_seconds, FIRST_RETRY_SECONDS * 2**failed)
            failed += 1
            status.fail(error, find_current(into))
            _log.warning("sync failed", extra={"fields": _failure(error, status, wait)})
        else:
            wait, failed = every_seconds, 0
            if status.current != before:
                _log.info("new set in use", extra={"fields": fields_of(status.current)})
        time.sleep(wait * random.uniform(0.9, 1.1))


def fields_of(current: ModelSet | None) -> dict[str, object]:
    """What a line of the log says about the set in use."""
    return {"set": current.version, "models": len(current.models)} if current else {"set": "none", "models": 0}


def _told(error: Exception) -> str:
    """Say what happened; of an error that nobody foresaw only what and where, since its text may hold a signed URL."""
    if isinstance(error, KeplerTrainError):
        return str(error)
    way = " > ".join(f"{Path(frame.filename).stem}:{frame.lineno}" for frame in extract_tb(error.__traceback__))
    return f"{type(error).__name__} at {way}, which no sync should meet; it is tried again, please report it"


def _failure(error: Exception, status: Status, wait: float) -> dict[str, object]:
    return {
        "kind": type(error).__name__,
        "error": status.problem,
        **fields_of(status.current),
        "retry_seconds": round(wait, 1),
    }
