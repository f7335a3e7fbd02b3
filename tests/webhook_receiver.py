"""A receiver of webhooks on a free loopback port: keeps what is posted, answers as it is told to."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from typing_extensions import Self
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response


class WebhookReceiver:
    """As a context manager: `with WebhookReceiver() as receiver`. Answers `statuses` in turn, then 200."""

    def __init__(self, statuses: Sequence[int] = ()) -> None:
        self.posted: list[Any] = []
        self.requests = 0
        self._statuses = list(statuses)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet)

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
        """Where it listens; the path is what a webhook's secret is."""
        return f"http://127.0.0.1:{self._server.server_port}/services/the-secret"

    @Request.application
    def _answer(self, request: Request) -> Response:
        self.requests += 1
        status = self._statuses.pop(0) if self._statuses else 200
        if status < 300:
            self.posted.append(request.get_json())
        return Response("ok", status, headers={"Location": "/elsewhere"} if 300 <= status < 400 else {})


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        """Keep requests out of the log, which tests read."""
