"""The workflow on this machine: the very graph that is compiled, run by kfp.local in processes or containers.

kfp.local runs the tasks of a static graph one after another and narrates all of it. Here feature groups, which do not
depend on each other, are started ahead of their turn; each task's output goes to a log of its own; people get a line a
task.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from kfp import local
from kfp.local import docker_task_handler, logging_utils, subprocess_task_handler
from kfp.local.orchestrator import enhanced_dag_orchestrator
from kfp.local.status import Status

from kepler_train.contract.errors import WrongUsage
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import Decision, read_decision
from kepler_train.contract.pages import EVALUATION_PAGES, evaluation_page
from kepler_train.contract.runtimes import CURRENT, RUNTIMES, Runtime
from kepler_workflow.containers import Containers
from kepler_workflow.interpreters import interpreter_of, library_path
from kepler_workflow.policy import IN_RUNTIME, Placement, read_images
from kepler_workflow.processes import BY_MODELS, BY_STEPS, ForkServer, error_in
from kepler_workflow.workflow import Catalogue, build_workflow

CORES = len(os.sched_getaffinity(0))
PARALLEL_GROUPS = min(CORES, 4)
"""Groups run at the same time; a task of each may hold half a gigabyte of TensorFlow."""
PAGES_FOLDER = "evaluations"
"""Beside the report, which links to what is there."""


@dataclass(frozen=True)
class Failure:
    """A task that failed: what a person should read, and where the rest is."""

    task: str
    message: str
    log: Path


@dataclass(frozen=True)
class TaskUse:
    """What a task's processes used."""

    task: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    """The most memory of one of them; at least that of the process which started it, which the kernel counts in."""


@dataclass
class Outcome:
    """How a local run ended."""

    folder: Path
    seconds: float = 0.0
    tasks: list[TaskUse] = field(default_factory=list)
    """In the order in which they ended."""
    failures: list[Failure] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    report: Path | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the run ended green."""
        return not self.failures


def run_locally(
    catalogue: Catalogue,
    parameters: Mapping[str, Any],
    folder: Path,
    progress: TextIO,
    runtime: Runtime = RUNTIMES[CURRENT],
    *,
    canary: bool = False,
    extract_tasks: int = 1,
    containers: Containers | None = None,
) -> Outcome:
    """Run the workflow with these parameters in a new folder; `progress` gets a line per task.

    Tasks run in `containers`, where given, else in processes. What fails is in the outcome and is not raised, but for
    NoInterpreter and NoContainers, where what tasks run in is not to be had, and WrongUsage, where the folder holds a
    run already.
    """
    placement = Placement(runtime=runtime, images=containers.images if containers else read_images())
    python = ""
    if containers:
        containers.require([placement.images["steps"], placement.images[runtime.image]])
    else:
        python = interpreter_of(runtime)
    workflow = build_workflow(catalogue, placement, canary=canary, extract_tasks=extract_tasks)
    run = _LocalRun(folder.absolute(), workflow.pipeline_spec, progress, python, containers)
    runner = local.DockerRunner() if containers else local.SubprocessRunner(use_venv=False)
    started = time.monotonic()
    with run.in_place_of_kfp():
        local.init(runner, str(run.folder / "artifacts"), raise_on_error=False)
        workflow(**parameters)
    run.outcome.seconds = time.monotonic() - started
    run.outcome.decisions.sort(key=lambda decision: (list(FeatureGroup).index(decision.group), decision.model_name))
    return run.outcome


class _LocalRun:
    def __init__(
        self,
        folder: Path,
        pipeline_spec: Any,
        progress: TextIO,
        python: str,
        containers: Containers | None,
    ) -> None:
        """Take, with the workflow, the interpreter that stands for its models' runtime, or containers."""
        self.folder = folder
        self.outcome = Outcome(folder)
        self._progress = progress
        self._components = pipeline_spec.components
        self._python = python
        self._containers = containers
        self._total = sum(map(_is_task, self._components.values()))
        self._done = 0
        self._lock = threading.Lock()
        self._started_ahead: dict[str, Future[Any]] = {}
        self._groups = ThreadPoolExecutor(PARALLEL_GROUPS)
        self._thread = threading.local()
        self._scratch = self._library = ""
        self._forks: dict[bool, ForkServer] = {}
        self._stopped = False
        self._kfp_execute = enhanced_dag_orchestrator.execute_task

    @contextlib.contextmanager
    def in_place_of_kfp(self) -> Iterator[None]:
        """Take over from kfp.local where it starts tasks and processes, and where it changes what all threads print."""
        try:
            (self.folder / "logs").mkdir(parents=True)
        except FileExistsError as cause:
            raise WrongUsage(f"{self.folder} holds a run already; give a new folder") from cause
        with (
            tempfile.TemporaryDirectory(dir=self.folder) as self._scratch,
            warnings.catch_warnings(),
            _root_logger_in(self.folder / "logs" / "kfp.log"),
            contextlib.redirect_stdout(io.StringIO()),
            _replaced(enhanced_dag_orchestrator, "execute_task", self._execute),
            _replaced(subprocess_task_handler, "run_local_subprocess", self._run_process),
            _replaced(docker_task_handler, "run_docker_container", self._run_container),
            _replaced(logging_utils, "local_logger_context", contextlib.nullcontext),
            _replaced(logging_utils, "indented_print", contextlib.nullcontext),
            self._fork_servers() as self._forks,
            self._groups,  # the last, so that an interrupted run waits for its groups while all this holds
        ):
            warnings.simplefilter("ignore")
            try:
                yield
            except BaseException:
                self._stopped = True
                for server in self._forks.values():
                    server.close()
                raise

    def _execute(self, task_name: str, task_spec: Any, **context: Any) -> Any:
        if _is_task(self._components[task_spec.component_ref.name]):
            return self._run_task(task_name, task_spec, **context)
        independent = self._independent_sub_workflows(task_spec)
        if len(independent) < 2:
            return self._kfp_execute(task_name=task_name, task_spec=task_spec, **context)
        if task_name not in self._started_ahead:
            for name, spec in sorted(independent.items(), key=lambda item: item[1].task_info.name):
                self._started_ahead[name] = self._groups.submit(
                    self._kfp_execute, task_name=name, task_spec=spec, **context
                )
        return self._started_ahead[task_name].result()

    def _independent_sub_workflows(self, task_spec: Any) -> dict[str, Any]:
        """The sub-workflows beside this one that wait for the same tasks and for no condition, itself included."""
        for component in self._components.values():
            tasks = component.dag.tasks
            if any(task.component_ref == task_spec.component_ref for task in tasks.values()):
                return {
                    name: task
                    for name, task in tasks.items()
                    if not _is_task(self._components[task.component_ref.name])
                    and task.dependent_tasks == task_spec.dependent_tasks
                    and not task.trigger_policy.condition
                }
        return {}

    def _run_task(self, task_name: str, task_spec: Any, **context: Any) -> Any:
        if self._stopped:
            return {}, Status.FAILURE
        title = task_spec.task_info.name
        log = self.folder / "logs" / f"{re.sub(r'[^A-Za-z0-9._]+', '-', title)}.log"
        self._thread.log = log
        self._thread.step = title.rpartition(": ")[2]
        self._thread.usage = None
        task_spec.ClearField("retry_policy")  # it is for lost pods: here it would only repeat a failure
        started = time.monotonic()
        outputs, status = self._kfp_execute(task_name=task_name, task_spec=task_spec, **context)
        seconds = time.monotonic() - started
        with self._lock:
            if status == Status.FAILURE:
                self.outcome.failures.append(Failure(title, error_in(log), log))
            if usage := self._thread.usage:
                cpu_seconds = usage.ru_utime + usage.ru_stime
                self.outcome.tasks.append(TaskUse(title, seconds, cpu_seconds, usage.ru_maxrss * 1024))
            self._keep(outputs)
            self._done += 1
            end = "FAILED" if status == Status.FAILURE else ""
            self._say(f"[{self._done:>{len(str(self._total))}}/{self._total}] {title:<48} {seconds:6.1f} s  {end}")
            if outputs.get("Output") is False:
                self._done += 1  # not improved: its publish is skipped
        return outputs, status

    def _keep(self, outputs: Mapping[str, Any]) -> None:
        if "decision" in outputs:
            decision = read_decision(Path(outputs["decision"].path))
            self.outcome.decisions.append(decision)
            page = evaluation_page(decision.group, decision.model_name)
            self._copy(outputs["evaluation"], self.folder / PAGES_FOLDER / page)
        if "leaderboard" in outputs:
            self._copy(outputs["summary"], self.folder / "report.md")
            self.outcome.report = self._copy(outputs["leaderboard"], self.folder / "report.html")

    def _copy(self, artifact: Any, path: Path) -> Path:
        path.parent.mkdir(exist_ok=True)
        return Path(shutil.copyfile(artifact.path, path))

    @contextlib.contextmanager
    def _fork_servers(self) -> Iterator[dict[bool, ForkServer]]:
        """Processes to fork tasks from, by whether these run in the models' runtime; none where containers do."""
        forks: dict[bool, ForkServer] = {}
        with contextlib.ExitStack() as opened:
            if self._python:
                self._library = str(library_path(Path(self._scratch) / "library"))
                for in_runtime, modules in ((False, BY_STEPS), (True, BY_MODELS)):
                    python = self._python if in_runtime else sys.executable
                    log = self.folder / "logs" / ("forks-of-models.log" if in_runtime else "forks.log")
                    server = ForkServer(python, modules, self._environment(python), log)
                    forks[in_runtime] = opened.enter_context(contextlib.closing(server))
            yield forks

    def _environment(self, python: str) -> dict[str, str]:
        environment = {
            "OMP_NUM_THREADS": str(max(1, CORES // PARALLEL_GROUPS)),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "ARROW_DEFAULT_MEMORY_POOL": "system",  # Arrow's own keeps 100 MB of what assembling gave back
            **os.environ,
            EVALUATION_PAGES: PAGES_FOLDER,
            "TMPDIR": self._scratch,  # kfp leaves a folder there for every task
        }
        if python != sys.executable:  # another one takes the project from here, not what it needs
            paths = (self._library, environment.get("PYTHONPATH", ""))
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        return environment

    def _run_process(self, full_command: list[str], env_vars: Mapping[str, str] | None = None) -> int:
        in_runtime = self._thread.step in IN_RUNTIME
        environment = {**self._environment(self._python if in_runtime else sys.executable), **(env_vars or {})}
        code, self._thread.usage = self._forks[in_runtime].call(full_command, self._thread.log, environment)
        if code not in {0, 1}:  # 1 is an exception; others: killed, not found, not executable
            with self._thread.log.open("ab") as log:
                log.write(f"\nthe process ended with exit code {code}\n".encode())
        return code

    def _run_container(self, client: Any, image: str, command: list[str], **_: Any) -> int:
        assert self._containers is not None  # noqa: S101 (else kfp was given another runner)
        with self._thread.log.open("ab") as log:
            return self._containers.run(
                client,
                image,
                command,
                {EVALUATION_PAGES: PAGES_FOLDER},
                folder=self.folder,
                step=self._thread.step,
                log=log,
            )

    def _say(self, line: str) -> None:
        print(line.rstrip(), file=self._progress, flush=True)


def _is_task(component: Any) -> bool:
    return bool(component.WhichOneof("implementation") == "executor_label")


@contextlib.contextmanager
def _root_logger_in(file: Path) -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers
    root.setLevel(logging.INFO)
    root.handlers = [logging.FileHandler(file)]
    try:
        yield
    finally:
        root.handlers[0].close()
        root.setLevel(level)
        root.handlers = handlers


@contextlib.contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    original = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, original)
