"""`simulate`: a window of a cluster whose every pod's power is known, or a live exporter of one."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from kepler_train.cli.places import folder_to_write
from kepler_train.contract.errors import WrongUsage

if TYPE_CHECKING:
    from kepler_train.simulate.spec import Scenario, SimulationSpec

_FIELDS = ("seed", "nodes", "pods_per_node", "scenario", "duration_seconds")


def add_commands(commands: Any) -> None:
    """Add `simulate`; what is not given is as `SimulationSpec` has it."""
    command = commands.add_parser(
        "simulate",
        help="record a simulated cluster, or serve it for a Prometheus to scrape",
        argument_default=argparse.SUPPRESS,
    )
    target = command.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--out", type=folder_to_write, metavar="FOLDER", help="record a window that ends now into this folder"
    )
    target.add_argument("--serve", type=int, metavar="PORT", help="serve /metrics on this port until interrupted")
    command.add_argument("--seed", type=int, help="another cluster for each")
    command.add_argument("--nodes", type=int)
    command.add_argument("--pods-per-node", type=int)
    command.add_argument("--scenario", type=_scenario, help="pattern of load, such as mixes or one-curve")
    command.add_argument("--duration-seconds", type=float, help="length of the window")
    command.set_defaults(command=simulate)


def simulate(arguments: argparse.Namespace) -> int:
    """Record a window, or serve a cluster live."""
    spec = recent(**{name: value for name, value in vars(arguments).items() if name in _FIELDS})
    if "serve" in arguments:
        from kepler_train.simulate import exporter

        exporter.serve(spec, arguments.serve)
        return 0
    from kepler_train.simulate import step

    for file in step.run(spec, arguments.out):
        print(file)
    return 0


def recent(**fields: Any) -> SimulationSpec:
    """Describe a simulation that ends now, to the minute: two in succession see one cluster at different times."""
    from kepler_train.simulate.spec import SimulationSpec

    spec = SimulationSpec(**fields)
    end = datetime.now(timezone.utc).replace(second=0, microsecond=0)
    return SimulationSpec(**fields, start=end - timedelta(seconds=spec.duration_seconds))


def _scenario(name: str) -> Scenario:
    from kepler_train.simulate.spec import Scenario

    try:
        return Scenario(name)
    except ValueError as cause:
        known = ", ".join(scenario.value for scenario in Scenario)
        raise WrongUsage(f"no scenario is called {name!r}; there are {known}") from cause
