from __future__ import annotations

import pytest

from kepler_train.contract.errors import WrongUsage
from kepler_train.contract.models import Index
from kepler_train.contract.runtimes import (
    CURRENT,
    RUNTIMES,
    installed_versions,
    other_versions,
    require_runtime,
    runtime_here,
    runtime_named,
)


def test_these_tests_run_in_the_current_runtime():
    assert runtime_here() == CURRENT
    require_runtime(CURRENT)
    with pytest.raises(WrongUsage, match=r"this is runtime current \(Python .*, numpy .*\), not estimator-2022"):
        require_runtime("estimator-2022")


def test_a_runtime_that_nobody_knows_is_refused_with_those_there_are():
    assert all(runtime_named(name).name == name for name in RUNTIMES)
    with pytest.raises(WrongUsage, match="there are current, estimator-2022"):
        runtime_named("estimator-2021")


def test_versions_differ_by_major_and_minor():
    here = installed_versions()
    major, minor, *_ = here["sklearn"].split(".")
    assert other_versions(here) == ""
    assert other_versions({"sklearn": f"{major}.{minor}.99", "python": "3.6.1"}) == ""
    assert other_versions({}) == ""
    older = other_versions({**here, "sklearn": "0.24.1"})
    assert older == f"sklearn 0.24.1 (here {here['sklearn']})"


def test_an_index_of_before_is_of_the_current_runtime():
    assert Index.decode(b'{"schema_version":1,"models":{}}', "index").runtime == CURRENT
