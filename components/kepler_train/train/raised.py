"""What an exception says that an author's class raised, whatever it is made of."""

from __future__ import annotations

import traceback

from kepler_train.contract.errors import KeplerTrainError

_LONGEST = 500


def said_by(cause: BaseException) -> str:
    """One line that can be written anywhere: the message, with the type unless the error is one of ours."""
    try:
        message = str(cause)
    except Exception as broken:  # noqa: BLE001 (an author's exception may fail even at this)
        message = f"its message cannot be had: {type(broken).__name__}"
    lines = _writable(message).split("\n")
    line = "; ".join(stripped for stripped in map(str.strip, lines) if stripped) or "no message"
    return line if isinstance(cause, KeplerTrainError) else f"{type(cause).__name__}: {line}"[:_LONGEST]


def current_traceback() -> str:
    """The traceback of the exception at hand, as it can be written anywhere."""
    return _writable(traceback.format_exc())


def _writable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
