"""What each step may use and how the engine treats it: the one place where that is written.

Retries here are for a pod that Kubernetes evicts or preempts. kfp names no policy for them, so that the engine's
default holds, Argo's OnFailure: a task that exits non-zero is repeated, too, which `verdict`, red on purpose, must not
be; one whose pod was deleted is not. What a network may refuse is tried again inside the step, which loses no work.
Secrets and settings are named, never read: Kubernetes puts their keys, which are names of environment variables, into a
task's environment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from kfp import kubernetes
from kfp.dsl import PipelineTask

from kepler_train.contract.errors import WrongUsage
from kepler_train.contract.runtimes import CURRENT, RUNTIMES, Runtime
from kepler_train.contract.settings import own_name

USER_ID = 10001
"""Of the images' user; given by number, so that Kubernetes can tell that it is not root."""

MINUTE = 60
HOUR = 60 * MINUTE


@dataclass(frozen=True)
class Settings:
    """Keys of a Secret or ConfigMap that become environment variables; each may be missing."""

    name: str
    keys: tuple[str, ...]

    @property
    def variables(self) -> dict[str, str]:
        """Key to the variable that a task gets it as: of the same name, but for the bucket's, which get our own."""
        return {key: own_name(key) if key.startswith("AWS_") else key for key in self.keys}


PROMETHEUS = Settings(
    "kepler-train-prometheus", ("PROMETHEUS_USERNAME", "PROMETHEUS_PASSWORD", "PROMETHEUS_BEARER_TOKEN")
)
STORE = Settings("kepler-train-store", ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"))

NOTIFY = Settings("kepler-train-notify", ("KEPLER_TRAIN_WEBHOOK_URL", "KEPLER_TRAIN_ALERTMANAGER_URL"))

ADDRESSES = Settings(
    "kepler-train-settings",
    (
        *("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_CA_BUNDLE", "PROMETHEUS_CA_FILE", "REQUESTS_CA_BUNDLE"),
        *(
            "KEPLER_TRAIN_VERIFY_KEYS_FILE",
            "KEPLER_TRAIN_UNSIGNED",
            "KEPLER_TRAIN_RUNS_URL",
            "KEPLER_TRAIN_PUSHGATEWAY_URL",
        ),
    ),
)
"""A ConfigMap: where things are, and whom to trust, which is no secret."""

VERIFY_KEYS = ("kepler-train-verify-keys", "/etc/kepler-train/verify-keys")
"""A ConfigMap with the public keys of those whose models are used, and where its files appear."""

SIGNING_KEY = ("kepler-train-signing-key", "/etc/kepler-train/signing-key")
"""A Secret with the private key that publishing signs with, and where its files appear."""

SIGNING_SETTINGS = Settings("kepler-train-settings", ("KEPLER_TRAIN_SIGNING_KEY_FILE",))
"""Of the ConfigMap above, what only a task that signs is told."""

AUTHORITIES = ("kepler-train-ca", "/etc/kepler-train/ca")
"""A ConfigMap with certificates of authorities, and where its files appear."""


@dataclass(frozen=True)
class StepPolicy:
    """Requests, limits and treatment of one step's tasks."""

    cpu_request: str
    cpu_limit: str
    memory_request: str
    memory_limit: str
    timeout_seconds: int
    cached: bool = False
    retries: int = 2
    secrets: tuple[Settings, ...] = ()
    """Secrets in the environment; a step that has any also gets the addresses and the authorities to trust."""
    signs: bool = False
    """Whether it is given the private key; nobody else is."""


POLICIES = {
    "resolve": StepPolicy("100m", "500m", "128Mi", "256Mi", 10 * MINUTE),
    "extract": StepPolicy("1", "2", "512Mi", "1Gi", 6 * HOUR, secrets=(PROMETHEUS,)),
    "assemble": StepPolicy("1", "2", "512Mi", "1Gi", 2 * HOUR, cached=True),
    "train": StepPolicy("1", "2", "1Gi", "2Gi", 4 * HOUR, cached=True),
    # The champion, and with it the outcome, may have changed since: never cached.
    "evaluate": StepPolicy("1", "2", "1Gi", "2Gi", 2 * HOUR, secrets=(STORE,)),
    "canary": StepPolicy("250m", "1", "1Gi", "2Gi", 30 * MINUTE, secrets=(STORE,)),
    "publish": StepPolicy("250m", "1", "1Gi", "2Gi", 30 * MINUTE, secrets=(STORE,), signs=True),
    "report": StepPolicy("250m", "1", "512Mi", "1Gi", 30 * MINUTE, secrets=(STORE,)),
    "verdict": StepPolicy("100m", "500m", "128Mi", "256Mi", 10 * MINUTE, retries=0, secrets=(STORE,)),
    "notify": StepPolicy("100m", "500m", "128Mi", "256Mi", 10 * MINUTE, secrets=(NOTIFY, STORE)),
}

IN_RUNTIME = {"train", "evaluate"}
"""The steps that make models or open them; all others run in the steps' image whatever the runtime."""


def read_images(file: Path | None = None) -> dict[str, str]:
    """Read which image each name stands for: the project's own, or those that `file` replaces.

    Raises WrongUsage for a file that is no JSON object of names and references, or names an image there is not.
    """
    images: dict[str, str] = json.loads(resources.files(__package__).joinpath("images.json").read_text())
    if file is None:
        return images
    form = f"write a JSON object with references for some of {', '.join(images)}"
    try:
        replaced = json.loads(file.read_text())
    except (OSError, ValueError) as cause:
        raise WrongUsage(f"images cannot be read from {file}: {cause}; {form}") from cause
    if not isinstance(replaced, dict) or not all(isinstance(value, str) and value for value in replaced.values()):
        raise WrongUsage(f"{file} does not say which images to use; {form}")
    if unknown := sorted(set(replaced) - set(images)):
        raise WrongUsage(f"{file} names images that there are not: {', '.join(unknown)}; {form}")
    return images | replaced


@dataclass(frozen=True)
class Toleration:
    """A taint that tasks endure; without a value, whatever its value is."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True)
class Placement:
    """What a workflow's models are for, and where a cluster's owner lets tasks run, with which images."""

    runtime: Runtime = RUNTIMES[CURRENT]
    images: Mapping[str, str] = field(default_factory=read_images)
    tolerations: tuple[Toleration, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    image_pull_secrets: tuple[str, ...] = ()

    def image_of(self, step: str) -> str:
        """The image in which a step's tasks run."""
        return self.images[self.runtime.image if step in IN_RUNTIME else "steps"]


def apply(task: PipelineTask, step: str, placement: Placement) -> None:
    """Give a task the policy of its step, and its place."""
    policy = POLICIES[step]
    task.set_container_image(placement.image_of(step))
    task.set_caching_options(enable_caching=policy.cached)
    task.set_cpu_request(policy.cpu_request).set_cpu_limit(policy.cpu_limit)
    task.set_memory_request(policy.memory_request).set_memory_limit(policy.memory_limit)
    if policy.retries:
        task.set_retry(policy.retries, backoff_duration="30s", backoff_factor=2)
    kubernetes.set_timeout(task, policy.timeout_seconds)
    kubernetes.set_security_context(task, run_as_user=USER_ID, run_as_non_root=True)
    kubernetes.add_pod_label(task, "app.kubernetes.io/name", "kepler-train")
    kubernetes.add_pod_label(task, "app.kubernetes.io/component", step)
    _give_secrets(task, policy)
    _place(task, placement)


def _give_secrets(task: PipelineTask, policy: StepPolicy) -> None:
    for secret in policy.secrets:
        kubernetes.use_secret_as_env(task, secret.name, secret.variables, optional=True)
    if policy.secrets:
        kubernetes.use_config_map_as_env(task, ADDRESSES.name, ADDRESSES.variables, optional=True)
        kubernetes.use_config_map_as_volume(task, *AUTHORITIES, optional=True)
    if STORE in policy.secrets:
        kubernetes.use_config_map_as_volume(task, *VERIFY_KEYS, optional=True)
    if policy.signs:
        kubernetes.use_secret_as_volume(task, *SIGNING_KEY, optional=True)
        kubernetes.use_config_map_as_env(task, SIGNING_SETTINGS.name, SIGNING_SETTINGS.variables, optional=True)


def _place(task: PipelineTask, placement: Placement) -> None:
    for toleration in placement.tolerations:
        kubernetes.add_toleration(
            task,
            key=toleration.key,
            operator="Equal" if toleration.value else "Exists",
            value=toleration.value or None,
            effect=toleration.effect,
        )
    for key, value in placement.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    if placement.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(placement.image_pull_secrets))
