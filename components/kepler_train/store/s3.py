"""Objects in a bucket of anything that speaks S3, through the `minio` client.

Endpoint, keys, region and the authority to trust come from the environment, as every S3 tool reads them. Network faults
and the server's own errors are tried again here. The client has no conditional write, but signs a URL for one: a PUT
with `If-Match` or `If-None-Match: *`. Where such a write went unanswered, reading back tells whether it took effect.
There are servers that overlook such conditions: before a bucket is first written to, it is asked whether it does.
"""

from __future__ import annotations

import os
import random
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from hashlib import md5
from pathlib import Path
from typing import TypeVar
from xml.etree.ElementTree import ParseError

import certifi
import urllib3
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error

from kepler_train.contract.errors import IndexConflict, StoreError, WrongUsage
from kepler_train.contract.settings import bucket_setting
from kepler_train.store.objects import LARGEST_FILE_BYTES, StoredObject, is_plain, require_size
from kepler_train.store.s3_errors import NO_CONDITIONS, error_of, explained, is_passing

T = TypeVar("T")

_ATTEMPTS = 6
_FIRST_WAIT_SECONDS = 0.1
_ENDPOINT = re.compile(r"(?i:(?P<scheme>https?))://(?P<server>([^][/?#@:]+|\[[0-9a-fA-F:.]+\])(:[0-9]+)?)/?")
_TIMEOUT = urllib3.Timeout(connect=5.0, read=30.0)
_URL_LIFE = timedelta(minutes=15)  # as long as S3 puts up with a clock that is off
_MD5 = re.compile('"?[0-9a-fA-F]{32}"?')
_SAME_ANSWERS = 3
_PROBE = ".conditions"
_LEASE = ".lease"
_LEASE_SECONDS = 30.0
_LEASE_POLL_SECONDS = 0.5
_WAIT_FOR_LEASE_SECONDS = 300.0


class Bucket:
    """Objects below a prefix of a bucket."""

    def __init__(self, client: Minio, http: urllib3.PoolManager, endpoint: str, bucket: str, prefix: str) -> None:
        self._client = client
        self._http = http
        self._endpoint = endpoint
        self._bucket = bucket
        self._prefix = prefix
        self._is_proven = False

    @property
    def address(self) -> str:
        """Bucket, prefix and endpoint."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/") + f" at {self._endpoint}"

    def get(self, key: str, largest_bytes: int = LARGEST_FILE_BYTES) -> StoredObject | None:
        """Read an object; its etag is the server's.

        Most servers' etag is the MD5 of the content. Where it is not, the body was cut on its way, or the server is of
        another kind (one that encrypts): the same answer so many times is taken for what is stored.
        """
        answers: list[tuple[str, str]] = []

        def read() -> StoredObject | None:
            try:
                response = self._client.get_object(self._bucket, self._prefix + key)
            except S3Error as error:
                if error.code == "NoSuchKey":
                    return None
                raise
            try:
                if "ETag" not in response.headers:
                    raise InvalidResponseError(response.status, response.headers.get("Content-Type"), None)
                content = response.read(largest_bytes + 1)
                require_size(len(content), largest_bytes, key, self.address)
                etag, checksum = response.headers["ETag"], md5(content, usedforsecurity=False).hexdigest()
                answers.append((etag, checksum))
                if _MD5.fullmatch(etag) and checksum not in etag.lower() and answers.count(answers[-1]) < _SAME_ANSWERS:
                    raise urllib3.exceptions.ProtocolError("the body is not the one that the ETag names")
                return StoredObject(content, etag)
            finally:
                response.close()
                response.release_conn()

        return self._retried(read)

    def put_if(self, key: str, content: bytes, expected: str | None) -> bool:
        """Write an object in one request, if its state is the expected one."""
        if not self._is_proven:
            self._prove_conditions()
            self._is_proven = True
        return self._put_if(key, content, expected)

    def _prove_conditions(self) -> None:
        """Raise StoreError where the server writes although a condition does not hold.

        It is asked with an object that stays: whoever made it, whoever asks at the same time, it is there by the second
        write, and no further one may succeed.
        """
        self._put_if(_PROBE, _token(), None)
        for condition, expected in (("If-None-Match", None), ("If-Match", f'"{"0" * 32}"')):
            if self._put_if(_PROBE, _token(), expected):
                raise StoreError(f"bucket {self._bucket} at {self._endpoint} overlooks {condition}; {NO_CONDITIONS}")

    def _put_if(self, key: str, content: bytes, expected: str | None) -> bool:
        condition = {"If-None-Match": "*"} if expected is None else {"If-Match": expected}
        unanswered = False

        def write() -> bool:
            nonlocal unanswered
            url = self._client.get_presigned_url("PUT", self._bucket, self._prefix + key, expires=_URL_LIFE)
            try:
                response = self._http.request("PUT", url, body=content, headers=condition)
            except urllib3.exceptions.HTTPError:
                unanswered = True
                raise
            if response.status in {200, 204}:
                return True
            error = error_of(response)
            if response.status == 412 or error.code == "NoSuchKey":
                # It may have been an earlier attempt of ours that changed the state.
                return unanswered and self._holds(key, content)
            unanswered = unanswered or response.status >= 500
            raise error

        try:
            return self._retried(write)
        except StoreError:
            with suppress(StoreError):
                if unanswered and self._holds(key, content):
                    return True
            raise

    def list(self, folder: str) -> tuple[str, ...]:
        """List all keys below a folder."""

        def names() -> tuple[str, ...]:
            found = self._client.list_objects(self._bucket, prefix=self._prefix + folder, recursive=True)
            try:
                keys = [entry.object_name or "" for entry in found if not entry.is_dir]
            except ValueError as cause:
                raise ParseError(str(cause)) from cause
            return tuple(sorted(key.removeprefix(self._prefix) for key in keys))

        return self._retried(names)

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        self._retried(lambda: self._client.remove_object(self._bucket, self._prefix + key))

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep others out by an object that one of them can create.

        A holder that dies leaves it behind: who has watched it unchanged for the time of a lease takes it over. The
        time is each watcher's own, so that no two clocks have to agree.
        """
        etag = self._acquire_lease()
        try:
            yield
        finally:
            current = self.get(_LEASE)
            if current is not None and current.etag == etag:
                self.delete(_LEASE)

    def _acquire_lease(self) -> str:
        token = _token()
        seen, since = "", time.monotonic()
        until = time.monotonic() + _WAIT_FOR_LEASE_SECONDS
        while time.monotonic() < until:
            current = self.get(_LEASE)
            etag = current.etag if current else ""
            if etag != seen:
                seen, since = etag, time.monotonic()
            over = time.monotonic() - since > _LEASE_SECONDS
            if (not etag or over) and self.put_if(_LEASE, token, etag or None):
                mine = self.get(_LEASE)
                if mine is not None and mine.content == token:
                    return mine.etag
            time.sleep(random.uniform(0, _LEASE_POLL_SECONDS))
        raise IndexConflict(
            f"others have kept {self.address} busy for {_WAIT_FOR_LEASE_SECONDS:.0f} s; run again later"
        )

    def _holds(self, key: str, content: bytes) -> bool:
        current = self.get(key)
        return current is not None and current.content == content

    def _retried(self, action: Callable[[], T]) -> T:
        for attempt in range(_ATTEMPTS):
            try:
                return action()
            except (urllib3.exceptions.HTTPError, MinioException, ParseError, UnicodeDecodeError) as error:
                if attempt + 1 == _ATTEMPTS or not is_passing(error):
                    raise explained(error, self._bucket, self._endpoint) from error
            time.sleep(_FIRST_WAIT_SECONDS * 2**attempt * random.uniform(0.5, 1.5))
        raise AssertionError  # the last attempt returns or raises


def connect(address: str) -> Bucket:
    """Open `s3://bucket/prefix` with the endpoint and keys of the environment; nothing is sent yet.

    Raises WrongUsage for an address or a setting that is none, StoreError where the keys are missing.
    """
    bucket, *prefix = address.removeprefix("s3://").removesuffix("/").split("/")
    if not _is_bucket_name(bucket) or not all(map(is_plain, prefix)):
        raise WrongUsage(
            "a store in a bucket is s3://bucket/prefix, without keys in it: a name of three letters or more, then "
            "letters, digits, '.', '_' and '-' between slashes, without a dot in front"
        )
    endpoint = _ENDPOINT.fullmatch(_setting("AWS_ENDPOINT_URL") or "https://s3.amazonaws.com")
    if endpoint is None:
        raise WrongUsage("AWS_ENDPOINT_URL must be http://host:port or https://host:port, without keys and path")
    access_key, secret_key = _setting("AWS_ACCESS_KEY_ID"), _setting("AWS_SECRET_ACCESS_KEY")
    if not access_key or not secret_key:
        raise StoreError(f"no keys for {address}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    http = urllib3.PoolManager(timeout=_TIMEOUT, retries=False, cert_reqs="CERT_REQUIRED", ca_certs=_authorities())
    scheme, server = endpoint["scheme"].lower(), endpoint["server"]
    try:
        client = Minio(
            server,
            access_key=access_key,
            secret_key=secret_key,
            session_token=_setting("AWS_SESSION_TOKEN") or None,
            secure=scheme == "https",
            region=_setting("AWS_REGION") or "us-east-1",
            http_client=http,
        )
    except ValueError as cause:
        raise WrongUsage(f"no S3 server is at {server}: {cause}; correct AWS_ENDPOINT_URL or AWS_REGION") from cause
    return Bucket(client, http, f"{scheme}://{server}", bucket, "".join(f"{part}/" for part in prefix))


def _setting(name: str) -> str:
    """Read a setting of the bucket's; a Secret made of a file ends in a line break, which no setting has."""
    value = (bucket_setting(name) or "").strip()
    if not re.fullmatch(r"[!-~]*", value):
        raise WrongUsage(f"{name} holds a character that none of its values has; set it anew")
    return value


def _is_bucket_name(name: str) -> bool:
    labels = name.split(".")
    return (
        3 <= len(name) <= 63
        and all(re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", label) for label in labels)
        and not all(map(str.isdecimal, labels))
    )


def _token() -> bytes:
    """A content that nobody else writes."""
    return uuid.uuid4().hex.encode()


def _authorities() -> str:
    bundle = bucket_setting("AWS_CA_BUNDLE")
    if bundle and not Path(bundle).is_file():
        raise WrongUsage(f"AWS_CA_BUNDLE names {bundle}, which is no file; give the PEM file of your authority")
    return bundle or os.environ.get("SSL_CERT_FILE") or certifi.where()
