"""Where a run's end is told: a Slack-compatible webhook, an Alertmanager. Their addresses are secrets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

import requests

from kepler_train.contract.errors import NotDelivered

ATTEMPTS = 3
FIRST_PAUSE_SECONDS = 1.0
TIMEOUT_SECONDS = 10

FAILURE_STANDS = timedelta(days=8)
"""How long an alert of a failed run stands unless a later run succeeds: more than a week, for weekly schedules."""

CHANGE_STANDS = timedelta(hours=1)


@dataclass(frozen=True)
class Ending:
    """How a run ended, its name and page, and a line for each changed model."""

    succeeded: bool
    name: str
    store: str
    page: str
    changes: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The run's end in one sentence."""
        changed = f"{len(self.changes)} model{'' if len(self.changes) == 1 else 's'} changed"
        how = "succeeded" if self.succeeded else "failed"
        return f"kepler-train run {self.name} {how}: {changed if self.changes else 'no model changed'}"


def tell_webhook(url: str, ending: Ending) -> None:
    """Post a message in Slack's form. Raises NotDelivered."""
    lines = [_escaped(ending.headline), *(f"• {_escaped(change)}" for change in ending.changes)]
    if ending.page:
        lines.append(f"<{ending.page}|the run in Kubeflow>")
    _post(url, {"text": "\n".join(lines)})


def tell_alertmanager(url: str, ending: Ending) -> None:
    """Raise an alert for a run that failed, end it after one that succeeded, and one for changed models.

    Raises NotDelivered.
    """
    now = datetime.now(timezone.utc)
    alerts = [
        _alert("KeplerTrainRunFailed", "warning", ending, now + (timedelta() if ending.succeeded else FAILURE_STANDS))
    ]
    if ending.changes:
        alerts.append(_alert("KeplerTrainModelsChanged", "info", ending, now + CHANGE_STANDS))
    _post(f"{url.rstrip('/')}/api/v2/alerts", alerts)


CHANNELS: Mapping[str, Callable[[str, Ending], None]] = {
    "KEPLER_TRAIN_WEBHOOK_URL": tell_webhook,
    "KEPLER_TRAIN_ALERTMANAGER_URL": tell_alertmanager,
}
"""Environment variable with a channel's address to how it is told."""


def _alert(name: str, severity: str, ending: Ending, ends: datetime) -> dict[str, Any]:
    # The run is no label: a later run's success must end the alert.
    return {
        "labels": {"alertname": name, "severity": severity, "service": "kepler-train", "store": ending.store},
        "annotations": {"summary": ending.headline, "description": "\n".join(ending.changes)},
        "endsAt": ends.isoformat(),
        **({"generatorURL": ending.page} if ending.page else {}),
    }


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _post(url: str, document: Any) -> None:
    """Post JSON, again where the receiver is away or busy; no error names more of the address than its host."""
    pause = FIRST_PAUSE_SECONDS
    for attempt in range(1, ATTEMPTS + 1):
        try:
            answer = requests.post(url, json=document, timeout=TIMEOUT_SECONDS, allow_redirects=False)
        except requests.RequestException as error:
            problem = f"does not answer ({type(error).__name__}); is its address right, may the pod reach it?"
        else:
            if answer.status_code < 300:
                return
            problem = f"answers {answer.status_code} {answer.reason}; is its address right?"
            if answer.status_code < 500 and answer.status_code != 429:
                break
        if attempt < ATTEMPTS:
            time.sleep(pause)
            pause *= 2
    raise NotDelivered(f"{urlsplit(url).hostname or 'the receiver'} {problem}")
