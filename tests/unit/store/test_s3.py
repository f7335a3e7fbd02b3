"""A bucket behind a network: faults on the way, refusals, and what a person is told."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import traceback
import uuid
from pathlib import Path

import pytest
from minio import MinioAdmin
from minio.credentials import StaticProvider

from kepler_train.contract.errors import StoreError, WrongUsage
from kepler_train.contract.models import INDEX_KEY, version_key
from kepler_train.store import open_store
from kepler_train.store.s3 import Bucket
from tests.conftest import missing
from tests.s3_server import shared_server
from tests.unit.store.addresses import S3, address_of
from tests.unit.store.faulty_proxy import (
    FaultyProxy,
    cut_after,
    cut_before,
    cut_document,
    empty_body,
    fail_after,
    garbled_document,
    half_body,
    not_implemented,
    not_s3,
    overlook,
    short_body,
    unavailable,
)
from tests.unit.store.versions import GROUP, NAME, add, serve

pytestmark = pytest.mark.s3


@pytest.fixture
def bucket(monkeypatch) -> str:
    for name, value in shared_server().environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://shared/{uuid.uuid4().hex}"


@pytest.fixture
def proxy(bucket, monkeypatch):
    monkeypatch.setattr("kepler_train.store.s3._FIRST_WAIT_SECONDS", 0.001)
    with FaultyProxy(shared_server().endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


def test_settings_by_names_of_our_own_come_first(bucket, tmp_path, monkeypatch):
    for name, value in shared_server().environment.items():
        monkeypatch.setenv(f"KEPLER_TRAIN_{name}", value)
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert open_store(bucket).read_index().models == {}


def written_to(bucket: str) -> Bucket:
    """A bucket's objects after the first write, which asks whether the server heeds conditions."""
    objects = open_store(bucket).objects
    assert objects.put_if("first", b"", None)
    return objects


@pytest.mark.parametrize("fault", [unavailable, cut_before, cut_after, fail_after, cut_document, garbled_document])
@pytest.mark.parametrize("expected", ["absent", "present"])
def test_a_write_through_a_fault_takes_effect_once_and_says_so(bucket, proxy, fault, expected):
    objects = written_to(bucket)
    etag = None
    if expected == "present":
        objects.put_if("index.json", b"before", None)
        etag = objects.get("index.json").etag
    proxy.faults = [fault, fault]
    assert objects.put_if("index.json", b"after", etag)
    assert objects.get("index.json").content == b"after"


def test_a_write_that_lost_behind_a_fault_says_so(bucket, proxy):
    objects = open_store(bucket).objects
    objects.put_if("index.json", b"of another", None)
    proxy.faults = [cut_after]
    assert not objects.put_if("index.json", b"mine", None)
    assert objects.get("index.json").content == b"of another"


def test_a_write_whose_every_answer_is_lost_is_found_by_reading_back(bucket, proxy):
    objects = written_to(bucket)
    proxy.faults = [cut_after] * 6
    assert objects.put_if("index.json", b"mine", None)


def test_a_write_that_fails_says_why_though_reading_back_fails_as_well(bucket, proxy):
    objects = written_to(bucket)
    proxy.method, proxy.faults = None, [unavailable] * 6 + [garbled_document] * 6
    with pytest.raises(StoreError, match=r"answers (HTTP )?503"):
        objects.put_if("index.json", b"mine", None)


@pytest.mark.parametrize("condition", ["If-None-Match", "If-Match"])
def test_a_server_that_overlooks_conditions_is_refused_before_anything_is_published(bucket, proxy, tmp_path, condition):
    proxy.faults = [overlook(condition)] * 100
    with pytest.raises(StoreError, match=rf"overlooks {condition}; .* lose models; use a server that has them"):
        add(open_store(bucket), tmp_path)
    assert open_store(bucket).objects.list("") == (".conditions",)


def test_a_server_without_conditions_is_not_asked_again(bucket, proxy, tmp_path):
    proxy.faults = [not_implemented] * 100
    with pytest.raises(StoreError, match=r"answers NotImplemented; .* use a server that has them"):
        add(open_store(bucket), tmp_path)
    assert proxy.requests.count("PUT") == 1


@pytest.mark.parametrize("kind", S3)
def test_conditions_are_asked_for_once_and_through_faults(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("kepler_train.store.s3._FIRST_WAIT_SECONDS", 0.001)
    address = address_of(kind, tmp_path, monkeypatch)
    with FaultyProxy(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        proxy.faults = [cut_after, unavailable] * 2
        objects = written_to(address)
        proxy.requests.clear()
        assert objects.put_if("second", b"", None)
        assert proxy.requests == ["PUT"]
        written_to(f"{address}/other")


def test_a_server_that_stays_away_is_named_after_a_few_attempts(bucket, proxy):
    proxy.faults = [unavailable] * 100
    with pytest.raises(StoreError, match=r"answers (HTTP )?503; .*try again later"):
        open_store(bucket).objects.put_if("index.json", b"mine", None)
    assert proxy.requests.count("PUT") == 6


@pytest.mark.parametrize(
    "fault", [half_body, cut_before, unavailable, cut_document, garbled_document, empty_body, short_body]
)
def test_reading_through_faults_gives_the_whole_object(bucket, proxy, fault):
    objects = open_store(bucket).objects
    content = b"0123456789" * 1000
    objects.put_if("a/b", content, None)
    proxy.method, proxy.faults = "GET", [fault, fault]
    assert objects.get("a/b").content == content
    proxy.faults = [fault]
    assert objects.list("a/") == ("a/b",)


def test_a_server_whose_etags_are_no_checksums_is_believed_in_the_end(bucket, proxy):
    def other_etag(handler) -> None:
        handler.answer(200, [("ETag", f'"{"0" * 32}"')], b"encrypted")

    objects = open_store(bucket).objects
    proxy.method, proxy.faults = "GET", [empty_body, empty_body, *[other_etag] * 3]
    objects.put_if("a", b"a", None)
    assert objects.get("a") == (b"encrypted", f'"{"0" * 32}"')


@pytest.mark.parametrize("fault", [cut_document, garbled_document])
def test_a_server_that_keeps_answering_half_documents_is_named(bucket, proxy, fault):
    proxy.method, proxy.faults = None, [fault] * 100
    with pytest.raises(StoreError, match=r"is it an S3 server\?"):
        open_store(bucket).read_index()


def test_deleting_through_faults_deletes(bucket, proxy):
    objects = open_store(bucket).objects
    objects.put_if("a/b", b"", None)
    proxy.method, proxy.faults = "DELETE", [cut_after, unavailable]
    objects.delete("a/b")
    assert objects.get("a/b") is None


def test_publishing_through_a_bad_network_loses_nothing(bucket, proxy, tmp_path):
    store = open_store(bucket)
    store.objects.put_if("first", b"", None)
    proxy.faults = [cut_after, unavailable, cut_before, fail_after] * 4
    added = add(store, tmp_path)
    serve(store)
    assert not proxy.faults
    assert store.fetch_version(GROUP, NAME, "1", tmp_path / "back") == added


def test_what_is_no_s3_server_is_said(bucket, proxy):
    proxy.method, proxy.faults = "GET", [not_s3] * 100
    with pytest.raises(StoreError, match=r"is it an S3 server\?"):
        open_store(bucket).read_index()
    with pytest.raises(StoreError, match=r"is it an S3 server\?"):
        open_store(bucket).objects.list("models/")


def assert_says(raised: pytest.ExceptionInfo[Exception], *facts: str) -> None:
    """The message holds the facts, and neither it nor the trace holds a secret."""
    assert all(fact in str(raised.value) for fact in facts), str(raised.value)
    everything = "".join(traceback.format_exception(raised.value))
    assert not any(secret in everything for secret in ("X-Amz-Signature", "wrong-secret", shared_server().password))


def each_use(address: str, tmp_path):
    yield lambda: open_store(address).read_index()
    yield lambda: open_store(address).objects.list("models/")
    yield lambda: open_store(address).objects.delete("index.json")
    yield lambda: add(open_store(address), tmp_path)
    yield lambda: open_store(address).objects.put_if("index.json", b"", None)


def test_a_bucket_that_is_not_there_is_named(bucket, tmp_path):
    for use in each_use("s3://no-such-bucket/models", tmp_path):
        with pytest.raises(StoreError) as raised:
            use()
        assert_says(raised, "bucket no-such-bucket at http://127.0.0.1:", "NoSuchBucket", "make the bucket")


def test_a_wrong_secret_is_said_without_it(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    for use in each_use(bucket, tmp_path):
        with pytest.raises(StoreError) as raised:
            use()
        assert_says(raised, "SignatureDoesNotMatch", "check AWS_SECRET_ACCESS_KEY")


def test_an_unknown_key_is_said(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    with pytest.raises(StoreError) as raised:
        open_store(bucket).read_index()
    assert_says(raised, "InvalidAccessKeyId", "check AWS_ACCESS_KEY_ID")


def test_keys_that_may_only_read_are_said_when_writing(bucket, monkeypatch):
    server = shared_server()
    keys = StaticProvider(server.user, server.password)
    admin = MinioAdmin(endpoint=server.endpoint.removeprefix("http://"), credentials=keys, secure=False)
    admin.user_add("reader", "reader-secret")
    admin.attach_policy(["readonly"], user="reader")
    open_store(bucket).objects.put_if("index.json", b"1", None)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "reader-secret")
    reader = open_store(bucket).objects
    assert reader.get("index.json").content == b"1"
    with pytest.raises(StoreError) as raised:
        reader.put_if("index.json", b"2", reader.get("index.json").etag)
    assert_says(raised, "AccessDenied", "allow these keys")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A certificate for 127.0.0.1 that only its own holder vouches for, and its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    if shutil.which("openssl") is None:
        missing("no openssl to make a certificate with (apt-get install openssl)")
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", folder / "key.pem", "-out", folder / "certificate.pem"]
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    subprocess.run([*request, *name, *files], check=True, capture_output=True)
    both = (folder / "key.pem").read_text() + (folder / "certificate.pem").read_text()
    (folder / "both.pem").write_text(both)
    return folder / "both.pem"


def test_a_private_authority_is_trusted_where_it_is_given_and_only_there(bucket, certificate, monkeypatch):
    with FaultyProxy(shared_server().endpoint, certificate) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        with pytest.raises(StoreError) as raised:
            open_store(bucket).read_index()
        assert_says(raised, f"cannot trust {proxy.endpoint}", "AWS_CA_BUNDLE")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate.with_name("certificate.pem")))
        assert open_store(bucket).objects.put_if("index.json", b"1", None)
        assert open_store(bucket).objects.get("index.json").content == b"1"


def test_missing_keys_are_named(bucket, monkeypatch):
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        open_store(bucket)


def test_an_unreachable_server_is_named(bucket, monkeypatch):
    monkeypatch.setattr("kepler_train.store.s3._FIRST_WAIT_SECONDS", 0.001)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        with pytest.raises(StoreError) as raised:
            open_store(bucket).read_index()
    assert_says(raised, f"cannot reach bucket shared at http://127.0.0.1:{port}", "AWS_ENDPOINT_URL")


def test_a_server_that_speaks_no_tls_is_said(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", shared_server().endpoint.replace("http://", "https://"))
    with pytest.raises(StoreError) as raised:
        open_store(bucket).read_index()
    assert_says(raised, "AWS_CA_BUNDLE")


def test_an_authority_that_is_no_file_is_said(bucket, monkeypatch):
    monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such.pem")
    with pytest.raises(WrongUsage, match=r"AWS_CA_BUNDLE names /no/such\.pem"):
        open_store(bucket)


@pytest.mark.parametrize(
    "address",
    [
        *("", "http://host/x", "ftp://x", "s3://", "s3:///models", "s3://ab", "s3://Upper/x", "s3://key:secret@shared"),
        *("s3://b..kt/x", "s3://-bkt/x", "s3://192.168.0.1/x", "s3://[bkt/x", "s3://bkt:9000/x"),
        *("s3://bkt/../x", "s3://bkt/./x", "s3://bkt//x", "s3://bkt/.x", "s3://bkt/a b", "s3://bkt/x\n"),
        *("s3://bkt/x?versionId=1", "s3://bkt/x#part", "s3://bkt?x", "s3://bkt/%2e%2e"),
    ],
)
def test_an_address_that_is_no_store_is_refused(bucket, address):
    with pytest.raises(WrongUsage, match="s3://bucket/prefix") as raised:
        open_store(address)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        *("minio:9000", "ftp://minio", "http://key:secret@minio", "http://minio/path", "http://minio:port", "http://"),
        *("http://:9000", "http://[::1", "http://minio?x=1", "http://minio#x"),
    ],
)
def test_an_endpoint_that_is_none_is_refused_without_repeating_it(bucket, monkeypatch, endpoint):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(WrongUsage, match="AWS_ENDPOINT_URL must be") as raised:
        open_store(bucket)
    assert endpoint == "http://" or endpoint not in str(raised.value)


@pytest.mark.parametrize("endpoint", ["http://[::1]:9000", "HTTPS://minio/", "http://my_minio:9000", ""])
def test_any_endpoint_that_is_one_passes(bucket, monkeypatch, endpoint):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    assert open_store(bucket)


@pytest.mark.parametrize(
    ("name", "value", "fact"),
    [
        ("AWS_ENDPOINT_URL", "http://minio:99999", "no S3 server is at minio:99999: invalid port"),
        ("AWS_ENDPOINT_URL", "https://sqs.us-east-1.amazonaws.com", "correct AWS_ENDPOINT_URL"),
        ("AWS_ENDPOINT_URL", "http://min io", "AWS_ENDPOINT_URL holds a character"),
        ("AWS_REGION", "us/east", "invalid region us/east; correct .* AWS_REGION"),
        ("AWS_ACCESS_KEY_ID", "a\nkey", "AWS_ACCESS_KEY_ID holds a character"),
        ("AWS_SECRET_ACCESS_KEY", "sécret", "AWS_SECRET_ACCESS_KEY holds a character"),
        ("AWS_SESSION_TOKEN", "a\0token", "AWS_SESSION_TOKEN holds a character"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named(bucket, monkeypatch, name, value, fact):
    monkeypatch.setattr(os, "environ", {**os.environ, name: value})
    with pytest.raises(WrongUsage, match=fact):
        open_store(bucket)


def test_settings_made_of_files_may_end_in_a_line_break(bucket, monkeypatch):
    for name, value in shared_server().environment.items():
        monkeypatch.setenv(name, f"{value}\n")
    assert open_store(bucket).read_index().models == {}


def test_the_layout_is_the_designs(bucket, tmp_path):
    store = open_store(bucket + "/prefix/")
    add(store, tmp_path)
    serve(store)
    prefix = bucket.removeprefix("s3://shared/") + "/prefix/"
    keys = {key.object_name for key in shared_server().client.list_objects("shared", prefix=prefix, recursive=True)}
    files = ("metadata.json", "model.sav", "scaler.pkl", "provenance.json", "provenance.json.sig")
    assert keys == {
        prefix + INDEX_KEY,
        prefix + ".conditions",
        *(prefix + version_key(GROUP, NAME, "1", file) for file in files),
    }
