"""Tasks in containers on this machine: in a cluster's images, with the environment that a step gets there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import docker

from kepler_train.contract.errors import NoContainers
from kepler_workflow.policy import ADDRESSES, POLICIES, SIGNING_SETTINGS, read_images

NOT_STARTED = 125
"""The exit code by which Docker says so."""


@dataclass(frozen=True)
class Containers:
    """The images to use, and the folders that tasks need beside the run's own."""

    images: Mapping[str, str] = field(default_factory=read_images)
    read: Sequence[Path] = ()
    write: Sequence[Path] = ()

    def require(self, images: Sequence[str]) -> None:
        """Have these images here, pulled where they are not. Raises NoContainers."""
        try:
            client = docker.from_env()
            for image in images:
                if not client.images.list(image):
                    client.images.pull(image)
        except docker.errors.DockerException as cause:
            raise NoContainers(
                f"no container can be started: {cause}; is Docker running, and are the images there? "
                "`make images` builds them, --images images/local.json uses those"
            ) from cause

    def run(
        self,
        client: Any,
        image: str,
        command: Sequence[str],
        settings: Mapping[str, str],
        *,
        folder: Path,
        step: str,
        log: IO[bytes],
    ) -> int:
        """Run a task of a step to its end, with settings of this run, its output to `log`; returns its exit code.

        As in a cluster that is strict: no rights, nothing to write to but the folders and /tmp.
        """
        environment = environment_of(step)
        files = [Path(value) for name, value in environment.items() if _names_a_file(name)]
        mounts = dict.fromkeys((*self.read, *files), "ro") | dict.fromkeys((folder, *self.write), "rw")
        try:
            container = client.containers.run(
                image,
                list(command),
                detach=True,
                environment={**environment, **settings, "TF_CPP_MIN_LOG_LEVEL": "2"},
                volumes=[f"{path}:{path}:{mode}" for path, mode in mounts.items()],
                user=f"{os.getuid()}:{os.getgid()}",
                network_mode="host",
                read_only=True,
                tmpfs={"/tmp": ""},  # noqa: S108 (the container's own)
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
            )
        except docker.errors.DockerException as error:
            log.write(f"the container could not be started: {error}\n".encode())
            return NOT_STARTED
        try:
            for chunk in container.logs(stream=True, follow=True):
                log.write(chunk)
            return int(container.wait()["StatusCode"])
        finally:
            container.remove(force=True)


def environment_of(step: str) -> dict[str, str]:
    """What of this process' environment a step's tasks are given in a cluster, too; files by their whole paths.

    A container has another working folder, and Docker mounts no relative path.
    """
    policy = POLICIES[step]
    addresses = [ADDRESSES] if policy.secrets else []
    signing = [SIGNING_SETTINGS] if policy.signs else []
    settings = [*policy.secrets, *addresses, *signing]
    given = [names for setting in settings for names in setting.variables.items()]
    found = {own: value for key, own in given if (value := os.environ.get(own) or os.environ.get(key))}
    return {name: str(Path(value).absolute()) if _names_a_file(name) else value for name, value in found.items()}


def _names_a_file(variable: str) -> bool:
    return variable.endswith(("_FILE", "_BUNDLE"))
