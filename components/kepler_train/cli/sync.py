"""`sync`: the served models to the folder of an estimator, once or again and again; `rollout`: have it read them."""

from __future__ import annotations

import argparse
import json
import logging
import re
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kepler_train.cli.results import add_json_option, write_json
from kepler_train.cli.run import add_runtime_option
from kepler_train.cli.stores import add_store_options
from kepler_train.contract.errors import KeplerTrainError, WrongUsage

if TYPE_CHECKING:
    from kepler_train.sync.models_folder import ModelSet

_UNITS = {"s": 1, "m": 60, "h": 3600}


def add_commands(commands: Any) -> None:
    """Add `sync` and `rollout`."""
    sync = commands.add_parser("sync", help="bring the served models to the folder that an estimator reads")
    add_store_options(sync)
    sync.add_argument(
        "--into",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="where the models go; the estimator reads FOLDER/current",
    )
    _add_reader_options(sync)
    often = sync.add_mutually_exclusive_group()
    often.add_argument("--once", action="store_true", help="one time, then end (the default): for an init container")
    often.add_argument("--every", metavar="TIME", help="again and again, such as 60s or 5m: for a sidecar")
    sync.add_argument("--listen", metavar="[HOST]:PORT", help="answer /healthz, /readyz and /metrics (with --every)")
    sync.set_defaults(command=sync_folder)

    rollout = commands.add_parser("rollout", help="replace estimators' pods where they have older models")
    add_store_options(rollout)
    rollout.add_argument("--daemonset", required=True, metavar="NAMESPACE/NAME", help="whose pods hold the estimators")
    _add_reader_options(rollout)
    add_json_option(rollout)
    rollout.set_defaults(command=roll_out_models)


def sync_folder(arguments: argparse.Namespace) -> int:
    """Sync once, or until a signal ends it."""
    from kepler_train.store import open_store
    from kepler_train.sync.models_folder import prepare, require_dialect, sync

    if arguments.listen and not arguments.every:
        raise WrongUsage("--listen is for a sync that stays; add --every 60s")
    if arguments.every and find_spec("prometheus_client") is None:
        raise WrongUsage("--every needs prometheus-client, which is not installed; install kepler-train[sync]")
    require_dialect(arguments.dialect)
    every_seconds = _seconds(arguments.every) if arguments.every else 0
    # First, since an estimator without models is to wait for them whatever keeps them away, were it a missing key.
    # Where that fails, each sync says so.
    with suppress(KeplerTrainError):
        prepare(arguments.into)
    store = open_store(arguments.store)
    sync_once = partial(sync, store, arguments.dialect, arguments.into, arguments.runtime.name)
    # What is in the making is cleared away on the way out. A sync that stays has done its work; one time has not.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0 if arguments.every else 128 + signal.SIGTERM))
    if arguments.every:
        _stay(sync_once, store.address, arguments, every_seconds)
        return 0
    current = sync_once()
    print(f"{arguments.into}/current holds {len(current.models)} models, set {current.version}")
    return 0


def roll_out_models(arguments: argparse.Namespace) -> int:
    """Have estimators read what is served, unless they were started for it."""
    if find_spec("kubernetes") is None:
        raise WrongUsage("this command needs kubernetes, which is not installed; install kepler-train[rollout]")
    from kepler_train.store import open_store
    from kepler_train.sync.models_folder import read_served, require_dialect, set_version
    from kepler_train.sync.rollout import roll_out

    require_dialect(arguments.dialect)
    version = set_version(read_served(open_store(arguments.store), arguments.runtime.name), arguments.dialect)
    done = roll_out(arguments.daemonset, version)
    write_json(arguments.json, {"before": done.before, "version": done.version, "changed": done.changed})
    told = f"its pods are replaced, for set {version}" if done.changed else f"its pods have set {version} already"
    print(f"{arguments.daemonset}: {told}")
    return 0


def _add_reader_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--dialect", default="d351cbf", help="the generation of estimators (default: d351cbf)")
    add_runtime_option(command)


def _stay(sync_once: Callable[[], ModelSet], address: str, arguments: argparse.Namespace, every_seconds: float) -> None:
    from kepler_train.sync.health import listen
    from kepler_train.sync.loop import Status, fields_of, sync_forever
    from kepler_train.sync.models_folder import find_current

    logging.getLogger().handlers[0].setFormatter(_Fields())
    status = Status(find_current(arguments.into))
    about = {"store": address, "into": str(arguments.into), **fields_of(status.current)}
    if arguments.listen:
        about["port"] = listen(arguments.listen, status)
    logging.getLogger("kepler_train.sync").info("start", extra={"fields": about})
    sync_forever(sync_once, arguments.into, every_seconds, status)


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+)([smh])", text)
    if match is None or not int(match[1]):
        raise WrongUsage(f"{text!r} is no interval; write it as 60s, 5m or 1h")
    return float(int(match[1]) * _UNITS[match[2]])


class _Fields(logging.Formatter):
    """A line of `name=value` pairs, for people and for programs; values with spaces are JSON strings."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S%z')}",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        return " ".join(f"{name}={_plain(str(value))}" for name, value in fields.items())


def _plain(value: str) -> str:
    return value if re.fullmatch(r"[\w./:@+-]+", value) else json.dumps(value)
