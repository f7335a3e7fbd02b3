import re
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest

from kepler_train.contract.window import INTERVAL_SECONDS
from kepler_train.simulate.cluster import Cluster
from kepler_train.simulate.exporter import LiveNode, exposition, scrape_configuration, serving
from kepler_train.simulate.series import NodeExporter, Scrape
from kepler_train.simulate.spec import SimulationSpec
from tests.conftest import missing

CLEAN = SimulationSpec(nodes=2, faults=False)
START = 1_770_000_000.0

_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


def parse(page):
    """Samples of a page by metric, as a strict reader of the text format would take them."""
    samples = {}
    for line in page.splitlines():
        if line.startswith("#"):
            continue
        metric, labels, value = re.fullmatch(r"([a-z_]+)\{(.*)\} (\S+)", line).groups()
        assert _LABEL.sub("", labels) == ""
        unescaped = {
            name: re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], text)
            for name, text in _LABEL.findall(labels)
        }
        samples.setdefault(metric, []).append((unescaped, float(value)))
    return samples


class Clock:
    now = START

    def __call__(self):
        return self.now


def live(spec=CLEAN):
    clock = Clock()
    return clock, LiveNode(Cluster(spec).nodes[0], clock)


def test_a_page_shows_the_last_whole_interval():
    _, node = live()
    page = parse(node.page())
    index = int(START // INTERVAL_SECONDS)
    expected = Cluster(CLEAN).nodes[0].stretch(index, 1)
    assert [labels["pod_name"] for labels, _ in page["pod_energy_stat"]] == [
        expected.pods[pod].name for pod in expected.row_pod
    ]
    assert [int(labels["curr_cpu_instr"]) for labels, _ in page["pod_energy_stat"]] == expected.features[:, 2].tolist()
    assert {metric: len(samples) for metric, samples in page.items() if metric != "pod_energy_stat"} == {
        "node_energy_stat": 1,
        "node_cpu_scaling_frequency_hertz": 72,
        "node_package_energy_millijoule": 2,
    }


def test_a_page_changes_with_the_interval_only_and_forgets_the_one_before():
    clock, node = live()
    first = node.page()
    clock.now += 2.9
    assert node.page() == first
    clock.now += 0.2
    shared = set(first.splitlines()) & set(node.page().splitlines())
    assert not [line for line in shared if line.startswith(("pod_energy_stat", "node_energy_stat", "node_package"))]


def test_counters_go_on_whoever_looks_and_however_rarely():
    def package(page):
        return sum(value for _, value in parse(page)["node_package_energy_millijoule"])

    clock, node = live()
    before = package(node.page())
    clock.now += 900
    stretch = Cluster(CLEAN).nodes[0].stretch(int(START // INTERVAL_SECONDS) + 1, 300)
    assert package(node.page()) - before == stretch.package_millijoules.sum()


def test_while_the_exporter_restarts_there_is_no_page():
    clock, node = live(SimulationSpec(nodes=1))
    pages = []
    for _ in range(900):
        clock.now += 3
        pages.append(node.page())
    away = [page is None for page in pages]
    assert 4 <= sum(away) < 90


def test_special_characters_in_labels_are_escaped():
    labels = {"command": 'a "b"\\c\nd', "pod_name": "x"}
    page = exposition(Scrape(1, [(labels, "1")], (labels, "NaN"), [], []))
    assert parse(page)["pod_energy_stat"] == [(labels, 1.0)]
    assert r'command="a \"b\"\\c\nd"' in page


def test_each_node_is_served_at_its_own_address():
    with serving(CLEAN, 0) as addresses:
        assert len(set(addresses)) == CLEAN.nodes
        for number, address in enumerate(addresses, start=1):
            with urllib.request.urlopen(address) as answer:
                assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
                page = parse(answer.read().decode())
            assert page["node_energy_stat"][0][0]["node_name"] == f"node{number}"
            assert {labels["instance"] for labels, _ in page["node_package_energy_millijoule"]} == {f"node{number}"}
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(addresses[0].replace("/metrics", "/other"))
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(addresses[0])


@pytest.mark.prometheus
def test_promtool_reads_pages_and_configuration(tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        missing("promtool is not on this machine; install prometheus")
    node = Cluster(CLEAN).nodes[0]
    scrape = next(NodeExporter(node, 10).scrapes(node.stretch(CLEAN.first_interval, 10)))
    checked = subprocess.run([promtool, "check", "metrics"], input=exposition(scrape), capture_output=True, text=True)
    # The metric's name is Kepler's, so the advice about it stands; a page it could not read would say so instead.
    assert checked.stderr == 'node_package_energy_millijoule counter metrics should have "_total" suffix\n'
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(scrape_configuration(("http://127.0.0.1:9101/metrics", "http://127.0.0.1:9102/metrics")))
    assert subprocess.run([promtool, "check", "config", str(configuration)], capture_output=True).returncode == 0
