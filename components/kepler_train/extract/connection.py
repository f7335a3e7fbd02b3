"""One connection to a Prometheus: who we are to it, what its refusals mean, and which of them pass if tried again."""

from __future__ import annotations

import logging
import random
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import requests
import urllib3
from prometheus_api_client import PrometheusConnect
from requests.auth import AuthBase, HTTPBasicAuth

from kepler_train.contract.errors import SourceError, WrongUsage
from kepler_train.extract.pieces import CutShort, NoSeries, SeriesPieces

_log = logging.getLogger("kepler_train")
T = TypeVar("T")

CONNECT_SECONDS = 10
READ_SECONDS = 150
"""Longer than the two minutes after which a Prometheus gives up by itself."""

_FIRST_ATTEMPTS = 3
_ATTEMPTS = 7
_BACKOFF_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 60.0

_GZIP = b"\x1f\x8b"


class TooMuch(Exception):
    """A request was over the server's limits, or took too long; half of it may be answered."""

    def __init__(self, fact: str, *, timed_out: bool) -> None:
        super().__init__(fact)
        self.timed_out = timed_out


class _Passing(Exception):
    """A fault that may be gone when tried again."""

    def __init__(self, fact: str, remedy: str, wait_seconds: float = 0.0) -> None:
        super().__init__(fact)
        self.remedy = remedy
        self.wait_seconds = wait_seconds


@dataclass(frozen=True)
class Credentials:
    """Who we are to the server; comes from the environment, and shows itself to nobody."""

    username: str = ""
    password: str = field(default="", repr=False)
    bearer_token: str = field(default="", repr=False)
    ca_file: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Credentials:
        """Read PROMETHEUS_USERNAME and _PASSWORD, or _BEARER_TOKEN, each also as …_FILE, and PROMETHEUS_CA_FILE."""
        credentials = cls(
            username=_secret("PROMETHEUS_USERNAME", environment),
            password=_secret("PROMETHEUS_PASSWORD", environment),
            bearer_token=_secret("PROMETHEUS_BEARER_TOKEN", environment),
            ca_file=environment.get("PROMETHEUS_CA_FILE", ""),
        )
        if credentials.bearer_token and credentials.username:
            raise WrongUsage("both PROMETHEUS_BEARER_TOKEN and PROMETHEUS_USERNAME are set; set one of them")
        if credentials.ca_file and not Path(credentials.ca_file).is_file():
            raise WrongUsage(f"PROMETHEUS_CA_FILE names {credentials.ca_file}, which is no file; is it mounted?")
        return credentials

    def auth(self) -> AuthBase | None:
        """What signs each request; never a header of the session, which a .netrc file would override."""
        if self.bearer_token:
            return _Bearer(self.bearer_token)
        return HTTPBasicAuth(self.username.encode(), self.password.encode()) if self.username else None


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Envelope(msgspec.Struct):
    """What every answer of Prometheus has."""

    status: str
    error: str = ""
    warnings: list[str] = []
    infos: list[str] = []


class _Samples(_Envelope):
    """An answer to a query, without its series."""

    data: dict[str, Any] = {}


class _LabelValues(_Envelope):
    """An answer with the values of a label; none may be null."""

    data: list[str] | None = None


E = TypeVar("E", bound=_Envelope)


class Connection:
    """Asks one Prometheus; safe to use from several threads."""

    def __init__(self, url: str, credentials: Credentials) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.auth = credentials.auth()
        self._session.verify = credentials.ca_file or True
        # Big answers come faster as they are; over a network of 1 Gbit/s and more, packing costs more than it saves.
        self._session.headers["Accept-Encoding"] = "identity"
        self._session.hooks["response"].append(self._check)
        self._client = PrometheusConnect(
            url, session=self._session, retry=urllib3.Retry(0, read=False), timeout=(CONNECT_SECONDS, READ_SECONDS)
        )
        self._told: set[str] = set()

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def label_values(self, label: str, series: list[str], start_seconds: float, end_seconds: float) -> list[str]:
        """List the values of a label on any of the series in a span of time."""
        parameters = {"match[]": series, "start": f"{start_seconds:.3f}", "end": f"{end_seconds:.3f}"}

        def ask() -> list[str]:
            values: list[str] | None = self._client.get_label_values(label, params=dict(parameters))
            return values or []

        return self._persist(ask, _FIRST_ATTEMPTS)

    def read(self, query: str, time_seconds: float, consume: Callable[[SeriesPieces], T]) -> T:
        """Ask an instant query and give what `consume` makes of its series, once the answer proved whole.

        Raises TooMuch where a smaller request may be answered, SourceError where none will be.
        """

        def ask() -> T:
            with self._session.get(
                f"{self.url}/api/v1/query",
                params={"query": query, "time": f"{time_seconds:.3f}"},
                stream=True,
                verify=self._session.verify,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
            ) as answer:
                pieces = SeriesPieces(lambda size: answer.raw.read(size, decode_content=False), one_list=True)
                made = consume(pieces)
                kind = self._envelope(pieces.skeleton, _Samples).data.get("resultType", "missing")
                if kind != "matrix":
                    raise SourceError(
                        f"Prometheus at {self.url} answered a {kind} instead of samples; is there something in between?"
                    )
                return made

        return self._persist(ask, _ATTEMPTS)

    def _persist(self, ask: Callable[[], T], attempts: int) -> T:
        """Ask until it is answered; an attempt that failed leaves nothing behind."""
        began = time.monotonic()
        for attempt in range(1, attempts + 1):
            try:
                return self._named(ask)
            except _Passing as fault:
                if attempt == attempts:
                    seconds = time.monotonic() - began
                    tried = f"tried {attempts} times in {seconds:.0f} s"
                    raise SourceError(f"Prometheus at {self.url} {fault}; {tried}; {fault.remedy}") from fault
                wait = max(_BACKOFF_SECONDS * 2 ** (attempt - 1) * random.uniform(0.8, 1.2), fault.wait_seconds)
                _log.info("Prometheus %s; trying again in %.1f s", fault, wait)
                time.sleep(wait)
        raise AssertionError("at least one attempt")

    def _named(self, ask: Callable[[], T]) -> T:
        """Ask once, and say in our words what went wrong."""
        try:
            return ask()
        except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as cause:
            innermost = _innermost(cause)
            if not isinstance(innermost, ssl.SSLCertVerificationError):
                raise SourceError(
                    f"Prometheus at {self.url} does not speak TLS as it should: {innermost}; is its address http://…?"
                ) from cause
            raise SourceError(
                f"Prometheus at {self.url} shows a certificate that is not trusted: {innermost}; "
                "set PROMETHEUS_CA_FILE to the authority's certificate"
            ) from cause
        except (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError) as cause:
            raise TooMuch(f"no answer within {READ_SECONDS} s", timed_out=True) from cause
        except (requests.exceptions.ConnectionError, requests.exceptions.ConnectTimeout) as cause:
            remedy = "is the address right, and the server up?"
            raise _Passing(f"cannot be reached ({_innermost(cause)})", remedy) from cause
        except (CutShort, urllib3.exceptions.ProtocolError, requests.exceptions.ChunkedEncodingError) as cause:
            raise _Passing("cut its answer short", "look for a proxy with limits, or a server that restarts") from cause
        except NoSeries as cause:
            raise SourceError(
                f"Prometheus at {self.url} answered without samples: {cause}; is this its address?"
            ) from cause
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as cause:
            raise SourceError(f"Prometheus at {self.url} did not answer as one: {cause}; is it one?") from cause

    def _check(self, answer: requests.Response, *, stream: bool = False, **_: Any) -> None:
        """Raise what is wrong with an answer; called for every one of the session. Of a stream it is not yet there."""
        if answer.is_redirect:
            return
        self._check_status(answer)
        if not stream:
            self._envelope(answer.content, _LabelValues)

    def _check_status(self, answer: requests.Response) -> None:
        status = answer.status_code
        if status == 200:
            return
        kind, said = _said(answer)
        fact = f"answered {status} ({said})"
        if status in (401, 403):
            raise SourceError(
                f"Prometheus at {self.url} {fact}: it does not take these credentials, or none came; set "
                "PROMETHEUS_USERNAME and PROMETHEUS_PASSWORD, or PROMETHEUS_BEARER_TOKEN, in the environment"
            )
        if status in (422, 504) or kind == "timeout":
            raise TooMuch(fact, timed_out=status != 422)
        if status == 429 or status >= 500:
            wait = answer.headers.get("Retry-After", "")
            seconds = min(float(wait), _LONGEST_WAIT_SECONDS) if wait.isdigit() else 0.0
            raise _Passing(fact, "look into its log, and ask again when it is well", seconds)
        raise SourceError(f"Prometheus at {self.url} {fact}; is this the address of a Prometheus?")

    def _envelope(self, document: bytes, form: type[E]) -> E:
        """Read the envelope of an answer, and tell what the server says beside it."""
        begins = document.lstrip()[:40]
        if begins.startswith(_GZIP):
            raise SourceError(
                f"Prometheus at {self.url} answered packed by gzip, unasked; is there a proxy in between that packs?"
            )
        if not begins.startswith((b"{", b"[")):
            raise SourceError(
                f"Prometheus at {self.url} answered what is no JSON (it begins with "
                f"{begins.decode(errors='replace')!r}); is this the address of a Prometheus, or of a login page?"
            )
        try:
            envelope = msgspec.json.decode(document, type=form)
        except (msgspec.ValidationError, UnicodeDecodeError) as cause:
            raise SourceError(
                f"Prometheus at {self.url} answered JSON, but not as a Prometheus does: {cause}; is it one?"
            ) from cause
        except msgspec.DecodeError as cause:
            raise CutShort("the answer ends in the middle") from cause
        if envelope.status != "success":
            said = envelope.error or f"with the status {envelope.status!r}"
            raise SourceError(f"Prometheus at {self.url} answered {said}; is there something in between?")
        for said in {*envelope.warnings, *envelope.infos} - self._told:
            self._told.add(said)
            _log.warning("Prometheus says: %s", said)
        return envelope


def _secret(name: str, environment: Mapping[str, str]) -> str:
    value, file = environment.get(name, ""), environment.get(f"{name}_FILE", "")
    if value and file:
        raise WrongUsage(f"both {name} and {name}_FILE are set; set one of them")
    if not file:
        return value
    try:
        return Path(file).read_text().strip()
    except OSError as cause:
        raise WrongUsage(f"{name}_FILE names {file}, which cannot be read: {cause.strerror}; is it mounted?") from cause


def _said(answer: requests.Response) -> tuple[str, str]:
    """The kind and the words of a refusal; of one that is not Prometheus' own, its beginning."""
    try:
        content = answer.content
        error = msgspec.json.decode(content, type=dict[str, Any])
        return str(error.get("errorType", "")), str(error.get("error", answer.reason))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "", " ".join(content[:120].decode(errors="replace").split()) or str(answer.reason)


def _innermost(error: BaseException) -> BaseException:
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return error
