"""A stand-in for the API of Kubeflow Pipelines, which cannot be had on one machine: it keeps what it is given.

Paths and documents are those of kfp's own client. What it does not know, it answers as the real one: an error document.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any

import yaml
from typing_extensions import Self
from werkzeug.exceptions import HTTPException, NotFound, Unauthorized
from werkzeug.routing import Map, Rule
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

V2 = "/apis/v2beta1"
PAGE = 2
"""Entries a page, however many are asked for: so a client that reads one page only is noticed."""


class KubeflowServer:
    """As a context manager, with all it was given as attributes: `with KubeflowServer() as server`.

    With a token, requests without it are refused, but for the health check, as behind most gateways. With a login page,
    they get that, all of them, as behind the others.
    """

    def __init__(self, token: str = "", *, multi_user: bool = False, login_page: bool = False) -> None:
        self.token = token
        self.login_page = login_page
        self.pipelines: list[dict[str, Any]] = []
        self.versions: list[dict[str, Any]] = []
        self.experiments: list[dict[str, Any]] = []
        self.recurring_runs: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.changes: list[str] = []
        """Method and path of every request that was no question, in order."""
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet)
        self._routes = Map(
            [
                Rule(f"{V2}/healthz", methods=["GET"], endpoint=lambda _: {"multi_user": multi_user}),
                Rule(f"{V2}/pipelines", methods=["GET"], endpoint=self._list("pipelines")),
                Rule(f"{V2}/pipelines", methods=["POST"], endpoint=self._create("pipelines", "pipeline_id")),
                Rule(f"{V2}/pipelines/<pipeline_id>/versions", methods=["GET"], endpoint=self._list_versions),
                Rule(f"{V2}/pipelines/upload_version", methods=["POST"], endpoint=self._upload_version),
                Rule(f"{V2}/experiments", methods=["GET"], endpoint=self._list("experiments")),
                Rule(f"{V2}/experiments", methods=["POST"], endpoint=self._create("experiments", "experiment_id")),
                Rule(f"{V2}/recurringruns", methods=["GET"], endpoint=self._list("recurring_runs", "recurringRuns")),
                Rule(
                    f"{V2}/recurringruns", methods=["POST"], endpoint=self._create("recurring_runs", "recurring_run_id")
                ),
                Rule(f"{V2}/recurringruns/<recurring_run_id>", methods=["DELETE"], endpoint=self._delete_recurring_run),
                Rule(f"{V2}/runs", methods=["POST"], endpoint=self._create("runs", "run_id")),
            ]
        )

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @Request.application
    def _answer(self, request: Request) -> Response:
        try:
            endpoint, values = self._routes.bind_to_environ(request.environ).match()
            known = request.headers.get("Authorization") == f"Bearer {self.token}"
            if self.login_page and not known:
                return Response("<html>Log in to your account</html>", mimetype="text/html")
            if self.token and not known and not request.path.endswith("/healthz"):
                raise Unauthorized("no or a wrong token")
            document = endpoint(request, **values)
        except HTTPException as error:
            return Response(
                json.dumps({"code": 5, "message": error.description}), error.code, mimetype="application/json"
            )
        if request.method != "GET":
            self.changes.append(f"{request.method} {request.path.removeprefix(V2)}")
        return Response(json.dumps(document), mimetype="application/json")

    def _list(self, kind: str, key: str = "") -> Callable[..., Any]:
        return lambda request: self._page(request, key or kind, getattr(self, kind))

    def _list_versions(self, request: Request, pipeline_id: str) -> Any:
        versions = [version for version in self.versions if version["pipeline_id"] == pipeline_id]
        return self._page(request, "pipeline_versions", versions)

    def _page(self, request: Request, kind: str, entries: list[dict[str, Any]]) -> Any:
        wanted = {
            predicate["key"]: predicate["stringValue"]
            for predicate in json.loads(request.args.get("filter") or "{}").get("predicates", [])
            if predicate["operation"] in {"EQUALS", 1}
        }
        for name in ("experiment_id", "namespace"):
            if request.args.get(name):
                wanted[name] = request.args[name]
        found = [entry for entry in entries if all(entry.get(key, "") == value for key, value in wanted.items())]
        start = int(request.args.get("page_token") or 0)
        more = {"next_page_token": str(start + PAGE)} if len(found) > start + PAGE else {}
        return {kind: found[start : start + PAGE], "total_size": len(found), **more}

    def _create(self, kind: str, key: str) -> Callable[..., Any]:
        def create(request: Request) -> Any:
            entry = {**request.get_json(), key: str(uuid.uuid4())}
            if "max_concurrency" in entry:
                entry["max_concurrency"] = str(entry["max_concurrency"])  # 64 bits are text in protobuf's JSON
            getattr(self, kind).append(entry)
            return entry

        return create

    def _upload_version(self, request: Request) -> Any:
        pipeline_id = request.args["pipelineid"]
        if pipeline_id not in {pipeline["pipeline_id"] for pipeline in self.pipelines}:
            raise NotFound(f"Pipeline {pipeline_id} not found")
        ir, *platform = yaml.safe_load_all(request.files["uploadfile"].read())
        spec = {"pipeline_spec": ir, "platform_spec": platform[0]} if platform else ir
        self.versions.append(
            {
                "pipeline_id": pipeline_id,
                "pipeline_version_id": str(uuid.uuid4()),
                "display_name": request.args["name"],
                "pipeline_spec": spec,
            }
        )
        return self.versions[-1]

    def _delete_recurring_run(self, _: Request, recurring_run_id: str) -> Any:
        left = [run for run in self.recurring_runs if run["recurring_run_id"] != recurring_run_id]
        if len(left) == len(self.recurring_runs):
            raise NotFound(f"RecurringRun {recurring_run_id} not found")
        self.recurring_runs = left
        return {}


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        """Keep requests out of the log, which tests read."""
