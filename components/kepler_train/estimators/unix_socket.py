"""The unix socket on which every generation of kepler-estimator answers: one JSON request per connection.

    python -m kepler_train.estimators.unix_socket SOCKET MODELS [--err mae,mse]

is an estimator d351cbf as a process, for whoever wants to see what a folder of models answers in an interpreter. A
request ends with the piece that ends in `}`, as there. Where the estimator would answer no powers, or end without a
word, the answer here has no powers and says why.
"""

from __future__ import annotations

import argparse
import json
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from kepler_train.contract.errors import NotLoadable

_PIECE = 1024
_TIMEOUT_SECONDS = 300.0
_LONGEST_FOLDER = 70


class Estimator(Protocol):
    """A run of an estimator of some generation."""

    def answer(self, request: bytes) -> bytes:
        """Answer one request; raises NotLoadable where there would be no usable answer."""


def serve(estimator: Estimator, listener: socket.socket) -> None:
    """Answer one connection after the other, until the listener is shut down."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, suppress(ConnectionError):  # whoever leaves before the answer does without
            _answer(estimator, connection)


def ask(path: Path, request: bytes) -> list[float] | float:
    """Send one request to an estimator's socket; returns its powers: a list, or a bare number.

    Raises NotLoadable where it answers no powers, with what it says about that, or nothing at all.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_TIMEOUT_SECONDS)
        connection.connect(str(path))
        # At the edge of a piece an estimator takes spaces away, even from a category: so there are none.
        connection.sendall(json.dumps(json.loads(request), separators=(",", ":")).replace(" ", "\\u0020").encode())
        answer = b"".join(iter(lambda: connection.recv(_PIECE), b""))
    if not answer:
        raise NotLoadable("the estimator ended without an answer")
    answered: dict[str, Any] = json.loads(answer)
    powers: list[float] | float = answered["powers"]
    if powers == []:
        raise NotLoadable(answered["msg"])
    return powers


@contextmanager
def listening(estimator: Estimator) -> Iterator[Path]:
    """Let an estimator answer on a socket, in a thread; gives the socket's path."""
    # A socket's path has room for some hundred characters; the temporary folder of a local run lies in the run's own.
    short = "/tmp" if len(tempfile.gettempdir()) > _LONGEST_FOLDER else None  # noqa: S108 (the folder made in it is ours)
    with tempfile.TemporaryDirectory(dir=short) as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder) / "estimator.sock"
        listener.bind(str(path))
        listener.listen(1)
        thread = threading.Thread(target=serve, args=(estimator, listener), daemon=True)
        thread.start()
        try:
            yield path
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def main() -> None:
    """Serve a folder of models on a socket until killed."""
    from kepler_train.estimators.folder_estimator import FolderEstimator

    parser = argparse.ArgumentParser(description="Answer as kepler-estimator d351cbf does, on a unix socket.")
    parser.add_argument("socket", type=Path)
    parser.add_argument("models", type=Path)
    parser.add_argument("--err", default="mae", help="error keys to choose the model by (default: mae)")
    arguments = parser.parse_args()
    try:
        estimator = FolderEstimator(arguments.models, arguments.err.split(","))
    except NotLoadable as error:
        parser.exit(1, f"{error}\n")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(arguments.socket))
        listener.listen(1)
        serve(estimator, listener)


def _answer(estimator: Estimator, connection: socket.socket) -> None:
    request = b""
    while not request.endswith(b"}"):
        piece = connection.recv(_PIECE)
        if not piece:
            return
        request += piece.strip()
    try:
        answer = estimator.answer(request)
    except NotLoadable as error:
        answer = json.dumps({"powers": [], "msg": str(error)}).encode()
    connection.sendall(answer)


if __name__ == "__main__":
    main()
