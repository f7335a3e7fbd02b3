"""`models`: what a store serves, where it is from, whether it is whole, and the way back."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from kepler_train.cli.results import add_json_option, write_json
from kepler_train.cli.stores import add_store_options
from kepler_train.contract.errors import WrongUsage
from kepler_train.contract.features import FeatureGroup, group_named

if TYPE_CHECKING:
    from kepler_train.publish.models import ServedModel


def add_commands(commands: Any) -> None:
    """Add `models` with its own commands."""
    models = commands.add_parser("models", help="what the store serves: list, show, verify, rollback, restore, prune")
    actions = models.add_subparsers(required=True, metavar="ACTION")
    for name, action, help_text in (
        ("list", list_models, "list the served models"),
        ("show", show_model, "tell where a version comes from"),
        ("verify", verify_models, "check every served file against its signature and checksum"),
        ("rollback", roll_back, "serve the version before, or the one that is named"),
        ("restore", restore_index, "rebuild a lost index of what estimators are given"),
        ("prune", prune_models, "delete old versions that are neither served nor next to it"),
    ):
        command = actions.add_parser(name, help=help_text)
        command.set_defaults(command=action)
        add_store_options(command)
        if action in (show_model, roll_back):
            command.add_argument("model", metavar="GROUP/NAME", help="such as CounterOnly/linear")
            command.add_argument("--version", default="", help="the version meant")
        if action is roll_back:
            command.add_argument("--force", action="store_true", help="even if other libraries' versions made it")
        if action is prune_models:
            command.add_argument(
                "--keep", type=_count, default=10, metavar="N", help="the newest of each model stay (default: 10)"
            )
            command.add_argument(
                "--older-than", type=_days, default="30d", metavar="DAYS", help="younger ones stay (default: 30d)"
            )
            command.add_argument("--yes", action="store_true", help="delete; without it, only tell what would go")
        add_json_option(command)


def list_models(arguments: argparse.Namespace) -> int:
    """Print the served models, a line each."""
    from kepler_train.publish import models
    from kepler_train.store import open_store

    store = open_store(arguments.store)
    served = models.list_served(store)
    if not served:
        print(f"{store.address} serves nothing", file=sys.stderr)
    return _print_models(served, arguments.json)


def verify_models(arguments: argparse.Namespace) -> int:
    """Check the served models and print what is damaged; exit code 1 if anything is."""
    from kepler_train.publish import models
    from kepler_train.store import open_store

    return _print_models(models.verify(open_store(arguments.store)), arguments.json)


def show_model(arguments: argparse.Namespace) -> int:
    """Print a version's provenance."""
    from kepler_train.publish import models
    from kepler_train.store import open_store

    provenance = models.show(open_store(arguments.store), *_model_named(arguments.model), arguments.version)
    write_json(arguments.json, provenance.as_dict())
    print(provenance.encode().decode())
    return 0


def roll_back(arguments: argparse.Namespace) -> int:
    """Serve an earlier version again."""
    from kepler_train.publish import models
    from kepler_train.store import open_store

    served = models.rollback(
        open_store(arguments.store),
        *_model_named(arguments.model),
        arguments.version,
        other_libraries=arguments.force,
    )
    write_json(arguments.json, msgspec.to_builtins(served))
    print(f"{arguments.model} now serves {served.version}, published {served.published:%Y-%m-%d %H:%M} UTC")
    return 0


def restore_index(arguments: argparse.Namespace) -> int:
    """Rebuild a lost index and print what it serves."""
    from kepler_train.publish import models
    from kepler_train.publish.restore import restore
    from kepler_train.store import open_store

    store = open_store(arguments.store)
    restore(store)
    return _print_models(models.list_served(store), arguments.json)


def prune_models(arguments: argparse.Namespace) -> int:
    """Tell which versions are to go, and with `--yes` delete them."""
    from kepler_train.publish import retention
    from kepler_train.store import open_store

    store = open_store(arguments.store)
    planned = retention.plan(store, arguments.keep, arguments.older_than, datetime.now(timezone.utc))
    going = [one for one in planned if not one.kept_because]
    gone = retention.prune(store, going) if arguments.yes else ()
    for one in gone or going:
        print(f"{one.group.value}/{one.model_name}/{one.version}")
    done = f"{len(gone)} deleted" if arguments.yes else f"{len(going)} would be deleted; add --yes to do so"
    print(f"{done}; {len(planned) - len(going)} kept", file=sys.stderr)
    write_json(arguments.json, {"versions": msgspec.to_builtins(planned), "deleted": msgspec.to_builtins(gone)})
    return 0


def _count(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"{word!r} is no number of versions; write 10")
    return int(word)


def _days(word: str) -> timedelta:
    if not word.endswith("d") or not word[:-1].isdecimal():
        raise argparse.ArgumentTypeError(f"{word!r} is no age; write days, such as 30d")
    try:
        return timedelta(days=int(word[:-1]))
    except (OverflowError, ValueError) as cause:
        raise argparse.ArgumentTypeError(f"no store is {word[:20]!r} old; write fewer days, such as 30d") from cause


def _model_named(name: str) -> tuple[FeatureGroup, str]:
    group, slash, model_name = name.partition("/")
    if not slash or not model_name:
        raise WrongUsage(f"{name!r} names no model; write GROUP/NAME, such as CounterOnly/linear")
    return group_named(group), model_name


def _print_models(served: tuple[ServedModel, ...], json: Path | None) -> int:
    write_json(json, {"models": msgspec.to_builtins(served)})
    for model in served:
        name = f"{model.group.value}/{model.model_name}"
        error = f"{model.score.mape_percent:5.1f} %" if model.score else "      ?"
        print(f"{name:<40} {error}  {model.published:%Y-%m-%d %H:%M}  {model.version}")
    damaged = [model.damage for model in served if model.damage]
    print("\n".join(damaged), file=sys.stderr, end="\n" if damaged else "")
    return 1 if damaged else 0
