"""From the compiled workflow to a Kubeflow endpoint: versions of the pipeline, single runs, the one recurring run.

A version is named after what it holds, so that releasing the same again changes nothing. Kubeflow's API has no update
of a recurring run: a new one is created before the old one goes, and what an interruption left twice is one again
after the next time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import kfp_server_api
import urllib3
from kfp import Client, client, compiler

from kepler_train.contract.errors import KubeflowError, WrongUsage
from kepler_workflow.workflow import NAME

EXPERIMENT = "kepler-train"

_ACCOUNT = "give a token as the file KF_PIPELINES_SA_TOKEN_PATH, of an account that may use pipelines there"
_ADDRESS = "is this the address of its API?"
_REMEDIES = {400: "change what it names", 401: _ACCOUNT, 403: _ACCOUNT, 404: _ADDRESS, 405: _ADDRESS}


@dataclass(frozen=True)
class Target:
    """Where a release goes: an endpoint, what it is called there, and who runs it."""

    host: str = ""
    """Empty: KF_PIPELINES_ENDPOINT, the cluster that this runs in, or the kubeconfig's."""
    namespace: str = ""
    """The profile's, where Kubeflow has several users."""
    service_account: str = ""


@dataclass(frozen=True)
class Scheduled:
    """The recurring run as it is now, and what was done to it: `created`, `updated` or `unchanged`."""

    recurring_run_id: str
    change: str
    enabled: bool


def version_name(package: Path) -> str:
    """Name a compiled workflow after its content."""
    return f"{NAME}-{sha256(package.read_bytes()).hexdigest()[:12]}"


def write_resources(path: Path, workflow: Any, namespace: str) -> None:
    """Write the workflow as `Pipeline` and `PipelineVersion` resources, for who lets a controller apply them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with compiled(workflow) as package:
        options = compiler.KubernetesManifestOptions(
            pipeline_name=NAME,
            pipeline_version_name=version_name(package),
            namespace=namespace or None,
            include_pipeline_manifest=True,
        )
    compiler.Compiler().compile(
        workflow, str(path), kubernetes_manifest_options=options, kubernetes_manifest_format=True
    )


@contextlib.contextmanager
def compiled(workflow: Any) -> Iterator[Path]:
    """Compile a workflow into a file that lasts as long as the context."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / f"{NAME}.yaml"
        compiler.Compiler().compile(workflow, str(package))
        yield package


def submit(package: Path, target: Target, name: str, parameters: Mapping[str, Any]) -> str:
    """Run a compiled workflow once; returns the run's id. Raises KubeflowError."""
    with _connected(target) as kubeflow:
        run = kubeflow.run_pipeline(
            _experiment(kubeflow, target),
            name,
            params=dict(parameters),
            service_account=target.service_account or None,
            **_version(kubeflow, target, package),
        )
        return str(run.run_id)


def schedule(package: Path, target: Target, name: str, cron: str, parameters: Mapping[str, Any]) -> Scheduled:
    """Make the recurring run of that name run this workflow at these times, one run at a time, missed times left out.

    One that is paused stays paused. Raises KubeflowError.
    """
    with _connected(target) as kubeflow:
        experiment = _experiment(kubeflow, target)
        wanted = {
            "cron_expression": cron,
            "params": dict(parameters),
            "service_account": target.service_account or None,
            **_version(kubeflow, target, package),
        }
        present = _recurring_runs(kubeflow, experiment, name)
        kept = next((run for run in present if _is_as(run, wanted)), None)
        enabled = all(run.mode != "DISABLE" for run in present)
        change = "unchanged" if kept else "updated" if present else "created"
        if kept is None:
            kept = kubeflow.create_recurring_run(
                experiment, name, max_concurrency=1, no_catchup=True, enabled=enabled, **wanted
            )
        for run in present:
            if run.recurring_run_id != kept.recurring_run_id:
                kubeflow.delete_recurring_run(run.recurring_run_id)
        return Scheduled(str(kept.recurring_run_id), change, enabled)


def _is_as(run: Any, wanted: Mapping[str, Any]) -> bool:
    version, trigger = run.pipeline_version_reference, run.trigger
    return (
        version is not None
        and (version.pipeline_id, version.pipeline_version_id) == (wanted["pipeline_id"], wanted["version_id"])
        and trigger is not None
        and trigger.cron_schedule is not None
        and trigger.cron_schedule.cron == wanted["cron_expression"]
        and run.runtime_config is not None
        and (run.runtime_config.parameters or {}) == wanted["params"]
        and wanted["service_account"] in {None, run.service_account}
        and run.no_catchup is True
        and str(run.max_concurrency) == "1"
    )


def _experiment(kubeflow: Client, target: Target) -> str:
    return str(kubeflow.create_experiment(EXPERIMENT, namespace=target.namespace or None).experiment_id)


def _version(kubeflow: Client, target: Target, package: Path) -> dict[str, str]:
    """The pipeline and the version that holds the package, both made where they are missing."""
    pipeline = _pipeline(kubeflow, target)
    name = version_name(package)
    found = kubeflow.list_pipeline_versions(pipeline, filter=_named(name)).pipeline_versions
    version = found[0] if found else kubeflow.upload_pipeline_version(str(package), name, pipeline_id=pipeline)
    return {"pipeline_id": pipeline, "version_id": str(version.pipeline_version_id)}


def _pipeline(kubeflow: Client, target: Target) -> str:
    found = kubeflow.list_pipelines(filter=_named(NAME), namespace=target.namespace or None).pipelines
    if found:
        return str(found[0].pipeline_id)
    # Not `upload_pipeline`, which would give the first version the pipeline's own name.
    pipeline = kfp_server_api.V2beta1Pipeline(name=NAME, display_name=NAME, namespace=target.namespace or None)
    return str(kubeflow.pipelines.pipeline_service_create_pipeline(pipeline=pipeline).pipeline_id)


def _recurring_runs(kubeflow: Client, experiment: str, name: str) -> list[Any]:
    runs: list[Any] = []
    token = ""
    while True:
        page = kubeflow.list_recurring_runs(token, 50, experiment_id=experiment, filter=_named(name))
        runs += page.recurring_runs or []
        token = page.next_page_token or ""
        if not token:
            return runs


def _named(name: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


@contextlib.contextmanager
def _connected(target: Target) -> Iterator[Client]:
    """Open a client with the credentials of the environment; what the API refuses is raised as KubeflowError.

    kfp reads a token from the file that KF_PIPELINES_SA_TOKEN_PATH names, or uses the kubeconfig's credentials.
    """
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # kfp greets with one
        try:
            kubeflow = _client(target)
            _require_documents(kubeflow, target)
            _require_users(kubeflow, target)
            yield kubeflow
        except kfp_server_api.ApiException as cause:
            raise KubeflowError(_refusal(cause)) from cause
        except (urllib3.exceptions.HTTPError, OSError) as cause:
            raise KubeflowError(
                f"{_where(target)} does not answer: {cause}; give its API's address as --endpoint or "
                "KF_PIPELINES_ENDPOINT, a token as the file KF_PIPELINES_SA_TOKEN_PATH, its authority as SSL_CERT_FILE"
            ) from cause


def _require_documents(kubeflow: Client, target: Target) -> None:
    """Have every answer that is no document raised as KubeflowError.

    kfp takes a page, such as the one for logging in that a gateway shows whoever has no token, for a document without
    content: a run would be submitted that there is not.
    """
    api = kubeflow.pipelines.api_client  # one for all of the client's requests
    deserialize = api.deserialize

    def read(response: Any, kind: Any) -> Any:
        with contextlib.suppress(ValueError):
            if isinstance(json.loads(response.data), dict):
                return deserialize(response, kind)
        raise KubeflowError(
            f"{_where(target)} does not answer as Kubeflow's API does, but perhaps with a page for logging in; give "
            "the API's address as --endpoint or KF_PIPELINES_ENDPOINT, a token as the file KF_PIPELINES_SA_TOKEN_PATH"
        )

    api.deserialize = read


def _where(target: Target) -> str:
    return target.host or os.environ.get("KF_PIPELINES_ENDPOINT") or "the cluster's Kubeflow"


def _require_users(kubeflow: Client, target: Target) -> None:
    """Refuse a namespace where there is one user: such a Kubeflow runs everything in its own, and says nothing."""
    if target.namespace and not kubeflow.get_kfp_healthz().multi_user:
        raise WrongUsage(
            f"this Kubeflow has one user, and would run in its own namespace, not in {target.namespace}; leave "
            "--namespace out, and have accounts, Secrets and ConfigMaps in Kubeflow's own (manifests/overlays/kubeflow)"
        )


def _client(target: Target) -> Client:
    named = os.environ.get(client.KF_PIPELINES_SA_TOKEN_ENV)
    token = Path(named or client.KF_PIPELINES_SA_TOKEN_PATH)
    if named and not token.is_file():
        raise WrongUsage(
            f"{client.KF_PIPELINES_SA_TOKEN_ENV} names a file that is not there: {named}; mount it, or unset"
        )
    logging.disable(logging.ERROR)  # kfp logs a traceback for each of five attempts
    try:
        # Not its `namespace`: that is Kubeflow's own, by which kfp finds the API behind a kubeconfig.
        return Client(
            host=target.host or None,
            credentials=client.ServiceAccountTokenVolumeCredentials() if token.is_file() else None,
            ssl_ca_cert=os.environ.get("SSL_CERT_FILE"),
        )
    finally:
        logging.disable(logging.NOTSET)


def _refusal(error: kfp_server_api.ApiException) -> str:
    said = str(error.body or error.reason)
    with contextlib.suppress(ValueError, AttributeError):
        said = json.loads(said).get("message") or said
    remedy = _REMEDIES.get(error.status, "try again later")
    return f"Kubeflow refused the request ({error.status}): {said.strip()[:500]}; {remedy}"
