"""What to tell someone whose window holds nothing to train on or nothing to judge with."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import count

from kepler_train.assemble import intervals
from kepler_train.contract.errors import NoData
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.held_out import BLOCK_SECONDS, LONG_ENOUGH, is_held_out

_REMEDIES = {
    intervals.NO_ENERGY: "an interval's energy is the difference between two samples in a row of "
    "node_package_energy_millijoule, of every package of the node (or, where no node has that metric, the label "
    "node_curr_energy_in_pkg_joule of node_energy_stat): check that Kepler reads RAPL on these nodes and that the "
    "window holds more than one interval",
    intervals.IMPOSSIBLE_ENERGY: "check the energy sensors of these nodes: their packages report nothing, or more than "
    "any node can draw",
    intervals.NO_PODS: "pod_energy_stat has no samples where energy was measured: check the selector, and that Kepler "
    "exports pods",
    intervals.LOST_POD_ROW: "pods' samples were set apart in every interval: window.json says why",
    intervals.MISSING_FEATURE: "this exporter does not write every feature of the group: train groups whose features "
    "it has",
    intervals.INCOMPLETE: "the pods do not add up to their node, so pods are missing, or this exporter counts these "
    "features otherwise for nodes: look for relabelling rules or scrape limits that drop some of pod_energy_stat, and "
    "for a second exporter that the selector should leave out; or train groups that add up",
    intervals.GAP_BESIDE_HELD_OUT: "extend the window: all of it lies beside held-out blocks",
}


def nothing_recorded(run_id: str) -> NoData:
    """A window without a single row."""
    return NoData(
        f"the window of {run_id} holds no samples at all; is Kepler scraped, and does the selector match its job?"
    )


def nothing_usable(group: FeatureGroup, set_apart: dict[str, int]) -> NoData:
    """A window whose intervals were all set apart."""
    total, remedy = sum(set_apart.values()), _REMEDIES[_largest(set_apart)]
    return NoData(f"no node interval can be used for {group.value}: of {total}, {_in_words(set_apart)}; {remedy}")


def no_pods_to_train_on(group: FeatureGroup) -> NoData:
    """A window in which no pod ran while anything was to be trained on."""
    return NoData(f"no pod ran in any interval to train {group.value} on; choose a window in which pods run")


def nothing_to_train_on(group: FeatureGroup, usable: int, set_apart: dict[str, int], last_milliseconds: int) -> NoData:
    """A window of which what can be used lies in held-out blocks."""
    start = _next_block(last_milliseconds, held_out=False)
    longer = f"extend the window beyond {_utc(start)} UTC, where the next block to train on starts"
    return NoData(
        f"nothing to train {group.value} on: all {usable} usable node intervals are in held-out blocks; "
        + _remedy(usable, set_apart, longer)
    )


def nothing_held_out(group: FeatureGroup, usable: int, set_apart: dict[str, int], last_milliseconds: int) -> NoData:
    """A window of which what can be used is in no held-out block."""
    start = _next_block(last_milliseconds, held_out=True)
    longer = f"extend the window to {_utc(start + BLOCK_SECONDS)} UTC, where the next held-out block ends"
    return NoData(
        f"nothing to judge {group.value} with: none of {usable} usable node intervals is in a held-out block of "
        f"{BLOCK_SECONDS} s; " + _remedy(usable, set_apart, longer)
    )


def _remedy(usable: int, set_apart: dict[str, int], longer: str) -> str:
    """What to do: about the reason that most were set apart for, where they outweigh the usable; else a longer window.

    What lies beside held-out blocks is no loss to mend.
    """
    lost = {reason: number for reason, number in set_apart.items() if reason != intervals.GAP_BESIDE_HELD_OUT}
    if sum(lost.values()) <= usable:
        return f"{longer}; {LONG_ENOUGH}"
    return f"set apart were {_in_words(set_apart)}; {_REMEDIES[_largest(lost)]}"


def _largest(set_apart: dict[str, int]) -> str:
    return max(set_apart, key=lambda reason: set_apart[reason])


def _in_words(set_apart: dict[str, int]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in set_apart.items())


def _next_block(last_milliseconds: int, *, held_out: bool) -> int:
    following = last_milliseconds // (BLOCK_SECONDS * 1000) * BLOCK_SECONDS + BLOCK_SECONDS
    return next(start for start in count(following, BLOCK_SECONDS) if is_held_out(start) == held_out)


def _utc(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M:%S}"
