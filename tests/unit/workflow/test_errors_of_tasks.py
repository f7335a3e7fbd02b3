"""What a person reads of a task that failed, taken from what its process really wrote."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from kepler_workflow.processes import error_in


@pytest.fixture
def message_of(tmp_path):
    def run(source):
        log = tmp_path / "task.log"
        with log.open("wb") as file:
            subprocess.call([sys.executable, "-c", textwrap.dedent(source)], stdout=file, stderr=subprocess.STDOUT)
        return error_in(log)

    return run


def test_of_our_own_errors_the_message_alone(message_of):
    assert (
        message_of("""
            from kepler_train.contract.errors import SourceError
            print("reading")
            raise SourceError("nothing listens at http://localhost:1; is Prometheus there?")
        """)
        == "nothing listens at http://localhost:1; is Prometheus there?"
    )


def test_a_message_of_several_lines_is_whole_and_its_cause_is_left_to_the_log(message_of):
    assert (
        message_of("""
            from kepler_train.contract.errors import SourceError, WrongUsage
            try:
                raise WrongUsage("the cause")
            except WrongUsage as cause:
                raise SourceError("no group; use one of\\n  Full\\n\\n  BPFOnly") from cause
        """)
        == "no group; use one of\n  Full\n\n  BPFOnly"
    )


def test_of_other_errors_the_type_too(message_of):
    assert message_of("raise ZeroDivisionError('by zero')") == "ZeroDivisionError: by zero"
    assert message_of("import json; json.loads('{')").startswith("json.decoder.JSONDecodeError: Expecting property")
    assert message_of("assert False") == "AssertionError"


def test_of_a_killed_process_what_it_said_last(message_of):
    last = message_of("""
        import os, signal
        print(*range(40), sep="\\n", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert last.splitlines() == [str(number) for number in range(25, 40)]


def test_of_a_process_that_never_started_that_it_did_not(tmp_path):
    assert error_in(tmp_path / "task.log") == "the task did not start"
