"""Letting running estimators take up a set: they read their folder only when they start, so their pods are replaced.

The set's version is an annotation of the DaemonSet's pod template: where it changes Kubernetes replaces the pods, one
after another, as the DaemonSet's update strategy says; where it is the same nothing is written. That needs the rights
to get and patch this one DaemonSet.
"""

from __future__ import annotations

from typing import NamedTuple

import urllib3
from kubernetes import client, config
from kubernetes.config import ConfigException

from kepler_train.contract.errors import RolloutError, WrongUsage

ANNOTATION = "kepler-train.dev/models"

_TIMEOUT_SECONDS = (5, 30)
_REMEDIES = {
    401: "renew the credentials",
    403: "allow this account to get and patch it, and nothing else",
    404: "is the name right?",
}


class Rollout(NamedTuple):
    """What a rollout found and did."""

    before: str
    """The set that the pods were started for; empty where that was never said."""
    version: str

    @property
    def changed(self) -> bool:
        """Tell whether pods are replaced."""
        return self.before != self.version


def roll_out(daemon_set: str, version: str) -> Rollout:
    """Have the pods of a DaemonSet, `NAMESPACE/NAME`, replaced unless they were started for this set.

    The cluster is the one this runs in, or the kubeconfig's. Raises WrongUsage for a name that is none, RolloutError
    where the API cannot be reached or refuses.
    """
    namespace, slash, name = daemon_set.partition("/")
    if not namespace or not slash or not name or "/" in name:
        raise WrongUsage(f"{daemon_set!r} names no DaemonSet; write NAMESPACE/NAME, such as monitoring/kepler-exporter")
    api = _connect()
    try:
        found = api.read_namespaced_daemon_set(name, namespace, _request_timeout=_TIMEOUT_SECONDS)
        if found.spec is None:  # what is no DaemonSet, such as a gateway's login page, is read as an empty one
            host = api.api_client.configuration.host
            raise RolloutError(f"{host} does not answer as Kubernetes does; is it the API's address, without a login?")
        before = (found.spec.template.metadata.annotations or {}).get(ANNOTATION, "")
        if before != version:
            patch = {"spec": {"template": {"metadata": {"annotations": {ANNOTATION: version}}}}}
            api.patch_namespaced_daemon_set(name, namespace, patch, _request_timeout=_TIMEOUT_SECONDS)
    except client.ApiException as cause:
        remedy = _REMEDIES.get(cause.status, "try again later")
        raise RolloutError(
            f"Kubernetes answers {cause.status} {cause.reason} for the DaemonSet {daemon_set}; {remedy}"
        ) from cause
    except urllib3.exceptions.HTTPError as cause:
        host = api.api_client.configuration.host
        raise RolloutError(f"cannot reach Kubernetes at {host} ({type(cause).__name__}); is it up?") from cause
    return Rollout(before, version)


def _connect() -> client.AppsV1Api:
    try:
        config.load_incluster_config()
    except ConfigException:
        try:
            config.load_kube_config()
        except Exception as cause:  # its own error, or that of its YAML reader, or what else a wrong file brings about
            raise RolloutError(
                f"no Kubernetes is known: {cause}; run in a pod with a service account, or set KUBECONFIG"
            ) from cause
    return client.AppsV1Api()
