"""What an S3 server's refusals mean: which pass when tried again, and what a person has to do about the others."""

from __future__ import annotations

from typing import TypeAlias
from xml.etree.ElementTree import ParseError

import urllib3
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from kepler_train.contract.errors import StoreError

_PASSING_CODES = {"ConditionalRequestConflict", "OperationAborted", "RequestTimeout", "SlowDown", "TooManyRequests"}

NO_CONDITIONS = (
    "without writes on condition (a PUT's If-Match and If-None-Match) those who publish at once lose models; use a "
    "server that has them"
)

_REMEDIES = {
    "NoSuchBucket": "make the bucket, or correct the store's address",
    "InvalidAccessKeyId": "check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY",
    "InvalidToken": "check AWS_SESSION_TOKEN",
    "ExpiredToken": "renew AWS_SESSION_TOKEN",
    "AccessDenied": "allow these keys to list the bucket, and to get, put and delete its objects; and check the clock",
    "RequestTimeTooSkewed": "set this machine's clock",
    "AuthorizationHeaderMalformed": "set AWS_REGION to the bucket's region",
    "PermanentRedirect": "set AWS_REGION to the bucket's region",
    "XMinioStorageFull": "make room on the server",
    "NotImplemented": NO_CONDITIONS,
    "501": NO_CONDITIONS,
}

ServerFault: TypeAlias = urllib3.exceptions.HTTPError | MinioException | ParseError | UnicodeDecodeError
"""What the client raises for a network or server gone wrong; the last two for XML that was cut, or is none."""


def error_of(response: urllib3.BaseHTTPResponse) -> S3Error:
    """Read an S3 error from a response that is one; where it says nothing, its code is the HTTP status."""
    try:
        error: S3Error = S3Error.fromxml(response)
    except (ParseError, UnicodeDecodeError):
        return S3Error(response, str(response.status), response.reason, None, None, None)
    return error


def is_passing(error: ServerFault) -> bool:
    """Tell whether the same request may succeed when it is sent again."""
    if isinstance(error, urllib3.exceptions.HTTPError):
        return not isinstance(error, urllib3.exceptions.SSLError | urllib3.exceptions.LocationValueError)
    if isinstance(error, MinioException):
        status = error_status(error)
        return status in {408, 429} or (status >= 500 and status != 501) or _code(error) in _PASSING_CODES
    return True


def error_status(error: MinioException) -> int:
    """The HTTP status an error came with; 0 where it had none."""
    if isinstance(error, S3Error):
        return int(error.response.status)
    if isinstance(error, ServerError):
        return int(error.status_code)
    if isinstance(error, InvalidResponseError):
        return int(error._code)  # noqa: SLF001 (the client keeps it nowhere else)
    return 0


def explained(error: ServerFault, bucket: str, endpoint: str) -> StoreError:
    """Make the error a person reads: what was refused by whom, and what to do. Holds no keys and no signed URL."""
    where = f"bucket {bucket} at {endpoint}"
    if isinstance(error, urllib3.exceptions.SSLError):
        return StoreError(
            f"cannot trust {endpoint}: {error}; give the authority that signed its certificate in AWS_CA_BUNDLE"
        )
    if isinstance(error, urllib3.exceptions.HTTPError):
        kind = type(error).__name__
        return StoreError(f"cannot reach {where} ({kind}); is the server up, and is AWS_ENDPOINT_URL its address?")
    if not isinstance(error, MinioException):
        return StoreError(f"{where} answers what is cut or no XML, each time it was asked; is it an S3 server?")
    code = _code(error) or f"HTTP {error_status(error)}"
    remedy = _REMEDIES.get(code)
    if remedy is None:
        passing = is_passing(error)
        remedy = "it did so each time it was asked; try again later" if passing else "is it an S3 server?"
    return StoreError(f"{where} answers {code}; {remedy}")


def _code(error: MinioException) -> str:
    return (error.code or "") if isinstance(error, S3Error) else ""
