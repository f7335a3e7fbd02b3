"""Whatever the network or the server does in the middle of publishing: what is served is whole, the old or the new, the
error is named, and the next run heals."""

from __future__ import annotations

import itertools
from datetime import timedelta

import minio.time
import pytest
import urllib3

from kepler_train.contract.errors import KeplerTrainError
from kepler_train.contract.models import INDEX_KEY, flat_name
from kepler_train.publish import models, step
from kepler_train.publish.restore import restore
from kepler_train.store import open_store
from tests.s3_server import shared_server
from tests.toxiproxy import Toxiproxy
from tests.unit.publish.candidates import GROUP, NAME, publish, write
from tests.unit.publish.serving import assert_serves
from tests.unit.publish.test_killed import find_served
from tests.unit.store import faulty_proxy
from tests.unit.store.addresses import SERVERS, address_of
from tests.unit.store.faulty_proxy import FaultyProxy

pytestmark = pytest.mark.s3

FLAT, OTHER = flat_name(GROUP, NAME), flat_name(GROUP, "other")
FAULTS = (
    faulty_proxy.broken,
    faulty_proxy.unavailable,
    faulty_proxy.cut_before,
    faulty_proxy.cut_after,
    faulty_proxy.fail_after,
    faulty_proxy.half_body,
    faulty_proxy.not_s3,
)
# Requests that a server may leave unanswered before it is given up, each the client's timeout: the attempts of what was
# asked, of reading back whether it was done, and of giving back the lease.
UNANSWERED = 3 * 6


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr("kepler_train.store.s3._FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr("kepler_train.store.s3._LEASE_SECONDS", 0.2)
    monkeypatch.setattr("kepler_train.store.s3._LEASE_POLL_SECONDS", 0.1)
    monkeypatch.setattr("kepler_train.store.s3._TIMEOUT", urllib3.Timeout(connect=2.0, read=2.0))


class Service:
    """A store with two models on an S3 server, one of which is published again and again through something faulty."""

    def __init__(self, kind: str, folder, monkeypatch) -> None:
        self.address = address_of(kind, folder, monkeypatch)
        self.endpoint = shared_server(SERVERS[kind]).endpoint
        self._folder, self._monkeypatch = folder, monkeypatch
        self.other = {OTHER: publish(folder, self.address, name="other").version}
        self.served = publish(folder, self.address, "0").version
        self.number = 0

    def publish_through(self, endpoint: str) -> str:
        """Publish a new version by way of an endpoint; returns the error, if it was one."""
        self.number += 1
        model = f"model {self.number}".encode()
        self._paths = write(self._folder / f"{self.number}", "1", champion=self.served, model=model)
        with self._monkeypatch.context() as faulty:
            faulty.setenv("AWS_ENDPOINT_URL", endpoint)
            try:
                step.run(*self._paths, self.address)
            except KeplerTrainError as error:
                return str(error)
        return ""

    def assert_heals(self) -> None:
        """What is served now is whole, and publishing once more serves the new version."""
        found = find_served(self.address, self.other)
        new = step.run(*self._paths, self.address).version
        assert found <= {self.served, new}
        assert_serves(self.address, {FLAT: new, **self.other})
        self.served = new


@pytest.fixture(params=["minio", pytest.param("versitygw", marks=pytest.mark.e2e)])
def service(request, tmp_path, monkeypatch):
    return Service(request.param, tmp_path, monkeypatch)


def requests_of_a_publish(service, proxy) -> int:
    proxy.fail_from(0, faulty_proxy.broken, times=0)
    assert not service.publish_through(proxy.endpoint)
    service.assert_heals()
    return len(proxy.requests)


def fail_for_good(service, proxy, fault, number: int) -> None:
    """Let the server fail from one request of a publish on: it ends by name, and the next one heals."""
    proxy.fail_from(number, fault)
    error = service.publish_through(proxy.endpoint)
    assert service.address.split("/")[2] in error
    assert error.endswith(("address?", "later", "server?")), error
    service.assert_heals()


def fail_twice(service, proxy, fault, number: int) -> None:
    """Let one request of a publish fail, and once more when it is tried again: it ends as if nothing had been."""
    proxy.fail_from(number, fault, times=2)
    assert not service.publish_through(proxy.endpoint)
    service.assert_heals()


def test_a_server_that_fails_in_the_middle_of_publishing_costs_nothing(service):
    with FaultyProxy(service.endpoint) as proxy:
        every = requests_of_a_publish(service, proxy)
        fail = itertools.cycle((fail_for_good, fail_twice))
        for fault, number in zip(FAULTS[:6], range(5, every, every // 6), strict=False):
            next(fail)(service, proxy, fault, number)


@pytest.mark.e2e
@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_fails_anywhere_in_publishing_costs_nothing(service, fault):
    with FaultyProxy(service.endpoint) as proxy:
        every = requests_of_a_publish(service, proxy)
        for number in range(FAULTS.index(fault), every, 13):
            fail_for_good(service, proxy, fault, number)
            if fault is not faulty_proxy.not_s3:
                fail_twice(service, proxy, fault, number)


@pytest.mark.e2e
def test_a_server_that_stops_answering_is_given_up_and_costs_nothing(service, monkeypatch):
    with FaultyProxy(service.endpoint) as proxy:
        every = requests_of_a_publish(service, proxy)
        for number in range(every // 16, every, every // 8):
            proxy.fail_from(number, faulty_proxy.silent)
            with monkeypatch.context() as impatient:
                # A server that is slow under load may be given up sooner, with the same outcome.
                impatient.setattr("kepler_train.store.s3._TIMEOUT", urllib3.Timeout(connect=2.0, read=0.25))
                assert "cannot reach bucket shared" in service.publish_through(proxy.endpoint)
            assert len(proxy.requests) - number <= UNANSWERED
            service.assert_heals()
        fail_twice(service, proxy, faulty_proxy.silent, every // 2)


TOXICS = {
    "reset": ("reset_peer", "downstream", {"timeout": 0}),
    "reset while sending": ("reset_peer", "upstream", {"timeout": 1}),
    "no answer": ("timeout", "downstream", {"timeout": 100}),
    "stalled": ("timeout", "upstream", {"timeout": 100}),
    "half an answer": ("limit_data", "downstream", {"bytes": 600}),
    "half a request": ("limit_data", "upstream", {"bytes": 700}),
}


def test_connections_that_break_cost_nothing(service):
    with Toxiproxy(service.endpoint) as proxy:
        for toxic, stream, attributes in TOXICS.values():
            proxy.poison(toxic, stream, **attributes)
            assert "cannot reach bucket shared" in service.publish_through(proxy.endpoint)
            proxy.heal()
            service.assert_heals()
        proxy.refuse()
        assert "cannot reach bucket shared" in service.publish_through(proxy.endpoint)
        proxy.heal()
        service.assert_heals()
        proxy.poison("latency", "downstream", latency=20, jitter=10)
        proxy.poison("slicer", "upstream", average_size=64, size_variation=32, delay=10)
        assert not service.publish_through(proxy.endpoint)
        service.assert_heals()


@pytest.mark.parametrize("off", [timedelta(days=1), timedelta(days=-1)], ids=["ahead", "behind"])
def test_a_clock_that_is_off_by_a_day_is_named_and_costs_nothing(service, monkeypatch, off):
    right = minio.time.utcnow
    with monkeypatch.context() as wrong:
        wrong.setattr(minio.time, "utcnow", lambda: right() + off)
        assert "clock" in service.publish_through(service.endpoint)
    service.assert_heals()


def test_an_index_that_was_deleted_or_altered_is_named_and_can_be_served_anew(service):
    store = open_store(service.address)
    for content in (None, b"", b"{", b"\xff\xfe\x00", b'{"models": {"CounterOnly": {"../x": {}}}}', b"[" * 100_000):
        store.objects.delete(INDEX_KEY)
        if content is not None:
            store.objects.put_if(INDEX_KEY, content, None)
            with pytest.raises(KeplerTrainError, match=r"index\.json"):
                models.list_served(store)
            assert "index.json" in service.publish_through(service.endpoint)
            store.objects.delete(INDEX_KEY)
        assert "has lost its index.json" in service.publish_through(service.endpoint)
        restore(store)
        service.assert_heals()


def test_every_object_that_is_lost_or_altered_is_named_and_the_next_model_replaces_it(tmp_path):
    address = str(tmp_path / "store")
    other = {OTHER: publish(tmp_path, address, name="other").version}
    served = publish(tmp_path, address, "0").version
    store = open_store(address)
    kinds = itertools.cycle((None, b"", b"\x00", b"\xff\xfe", b"[" * 100_000))
    folders = (f"models/{GROUP.value}/{NAME}/{{}}/", f"estimator/d351cbf/{FLAT}/")
    for number in range(2 * sum(len(store.objects.list(folder.format(served))) for folder in folders)):
        keys = [key for folder in folders for key in store.objects.list(folder.format(served))]
        key, content = keys[number % len(keys)], next(kinds)
        store.objects.delete(key)
        if content is not None:
            store.objects.put_if(key, content, None)
        damaged = {model.model_name: model.damage for model in models.verify(store)}
        assert damaged["other"] == ""
        # What estimators copy, verifying has derived anew where a file was missing.
        assert key.rpartition("/")[0] in damaged[NAME] or key.startswith("estimator/")
        paths = write(tmp_path / f"{number}", "1", champion=served, model=f"{number}".encode())
        served = step.run(*paths, address).version
        assert_serves(address, {FLAT: served, **other})
    assert number > 20
