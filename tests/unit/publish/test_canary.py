"""What a canary found becomes what is served: back to the version before, or staying; cut short anywhere, too."""

from __future__ import annotations

import signal

import pytest

from kepler_train.contract.errors import StoreError
from kepler_train.contract.models import Canary, Index, Served, TakenBack, flat_name, read_decision
from kepler_train.publish import canary, models, step
from kepler_train.store import open_store
from tests.unit.publish.candidates import GROUP, NAME, publish, rewrite_decision, write
from tests.unit.publish.serving import assert_serves
from tests.unit.publish.test_killed import everywhere, find_served, killed_before
from tests.unit.store.processes import DONE

FLAT = flat_name(GROUP, NAME)


class Nights:
    """A store that serves the second of two versions, new; and what a third night decides about it."""

    def __init__(self, address, folder) -> None:
        self.address, self.folder = address, folder
        self.first = publish(folder, address, "1").version
        self.second = publish(folder, address, "2", champion=self.first).version

    def decision(self, *, worse: bool = True, problem: str = ""):
        path = self.folder / f"canary-{worse}"
        _, decision = write(path, "3", champion=self.first if worse else self.second)
        found = Canary(version=self.second, before=self.first, worse=worse, problem=problem)
        rewrite_decision(decision, canary=found)
        return decision

    @property
    def served(self) -> Served:
        return open_store(self.address).read_index().served(GROUP, NAME)


@pytest.fixture
def nights(address, tmp_path):
    return Nights(address, tmp_path)


def test_a_worse_champion_is_taken_back_for_good(nights, tmp_path):
    assert nights.served.new
    decision = nights.decision()
    for _ in range(2):
        canary.run(decision, nights.address)
        assert_serves(nights.address, {FLAT: nights.first})
        assert nights.served.taken_back == (TakenBack(nights.second, read_decision(decision).run_id),)
        assert not nights.served.new, "it is not compared with what was before it"
    with pytest.raises(StoreError, match=rf"{nights.second} .* was served before and taken back.*--version"):
        publish(tmp_path / "again", nights.address, "2", champion=nights.first)
    assert_serves(nights.address, {FLAT: nights.first})
    third = publish(tmp_path / "third", nights.address, "3", champion=nights.first).version
    assert_serves(nights.address, {FLAT: third})
    assert nights.served.new
    assert [taken.version for taken in nights.served.taken_back] == [nights.second]


def test_a_person_may_serve_it_all_the_same(nights):
    canary.run(nights.decision(), nights.address)
    models.rollback(open_store(nights.address), GROUP, NAME, nights.second)
    assert_serves(nights.address, {FLAT: nights.second})
    assert nights.served.taken_back == (TakenBack(nights.first),)
    assert not nights.served.new


def test_a_champion_that_is_not_worse_stays_and_is_new_no_longer(nights):
    decision = nights.decision(worse=False)
    for _ in range(2):
        canary.run(decision, nights.address)
        assert_serves(nights.address, {FLAT: nights.second})
        assert not nights.served.new
        assert nights.served.taken_back == ()


def test_where_nothing_could_be_told_it_stays_new(nights):
    canary.run(nights.decision(worse=False, problem="v1 could not be used"), nights.address)
    assert nights.served.new
    assert nights.served.version == nights.second


def test_a_champion_that_came_in_between_is_left_alone(nights, tmp_path):
    taken_back, kept = nights.decision(), nights.decision(worse=False)
    third = publish(tmp_path / "third", nights.address, "3", champion=nights.second).version
    for decision in (taken_back, kept):
        canary.run(decision, nights.address)
        assert_serves(nights.address, {FLAT: third})
        assert nights.served.new


@everywhere
@pytest.mark.usefixtures("short_leases")
def test_killed_before_every_write_it_serves_one_of_the_two_and_the_next_attempt_heals(address, tmp_path):
    ends = []
    while DONE not in ends:
        nights = Nights(f"{address}-{len(ends)}", tmp_path / str(len(ends)))
        decision = nights.decision()
        work = lambda decision=decision, nights=nights: canary.run(decision, nights.address)  # noqa: E731
        ends.append(killed_before(len(ends) + 1, work, nights.address))
        assert find_served(nights.address, {}) <= {nights.first, nights.second}
        work()
        assert_serves(nights.address, {FLAT: nights.first})
    assert ends == [-signal.SIGKILL] * (len(ends) - 1) + [DONE]
    assert len(ends) > 10


def test_an_index_of_before_has_nothing_new_and_nothing_taken_back():
    served = '{"version": "1", "published": "2026-01-01T00:00:00Z", "provenance_sha256": ""}'
    old = Index.decode(f'{{"schema_version": 1, "models": {{"Full": {{"linear": {served}}}}}}}'.encode(), "index.json")
    assert old.models["Full"]["linear"].new is False
    assert old.models["Full"]["linear"].taken_back == ()


def test_publishing_again_after_the_canary_changes_nothing(nights, tmp_path):
    canary.run(nights.decision(worse=False), nights.address)
    before = open_store(nights.address).read_index()
    step.run(*write(tmp_path / "again", "2", champion=nights.first), nights.address)
    assert open_store(nights.address).read_index() == before
