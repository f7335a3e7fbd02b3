"""One way to get a window out of a Prometheus, in a process of its own; prints what it cost as JSON.

python -m benchmarks.extraction.ways WAY URL START END FOLDER
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from itertools import product
from pathlib import Path

import requests
from prometheus_api_client import PrometheusConnect

from kepler_train.contract.tables import METRIC_OF_TABLE, NODE_STAT, PACKAGE, POD_STAT
from kepler_train.extract import resolve, step
from kepler_train.extract.pieces import PIECE_BYTES
from kepler_train.extract.prometheus import PrometheusReader

METRICS = tuple(METRIC_OF_TABLE[table] for table in (POD_STAT, NODE_STAT, PACKAGE))
CHEAPEST_SECONDS = 1800
"""The range of the cheapest plan known: one query for each node and half an hour."""

Span = tuple[datetime, datetime]


def extract(url: str, span: Span, folder: Path) -> int:
    """Extract as this project does, to Parquet in `folder`; gives the number of samples."""
    start, end = (moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in span)
    window = resolve.run(prometheus_url=url, start=[start], end=[end], now=span[1])
    summary = step.run(window, folder)
    return sum(summary.rows.values()) + sum(sum(counts.values()) for counts in summary.set_apart.values())


def library(url: str, span: Span, _: Path) -> int:
    """Query and make data frames, as users of the client library write it; gives the number of rows."""
    from prometheus_api_client import MetricRangeDataFrame

    connection = PrometheusConnect(url)
    answers = (connection.custom_query_range(metric, *span, step="3") for metric in METRICS)
    return sum(len(MetricRangeDataFrame(answer)) for answer in answers)


def fetch(url: str, span: Span, _: Path) -> int:
    """Ask by the cheapest plan known, as many at once as extraction, and throw the answers away; gives the bytes."""
    session = requests.Session()
    parameters = {"match[]": list(METRICS[:2]), "start": span[0].timestamp(), "end": span[1].timestamp()}
    nodes = PrometheusConnect(url).get_label_values("instance", parameters)
    starts = range(int(span[0].timestamp()), int(span[1].timestamp()), CHEAPEST_SECONDS)

    def ask(start: int, node: str, metric: str) -> int:
        end = min(start + CHEAPEST_SECONDS, int(span[1].timestamp()))
        query = {"query": f'{metric}{{instance="{node}"}}[{end - start}s]', "time": str(end)}
        size = 0
        with session.get(
            f"{url}/api/v1/query", params=query, headers={"Accept-Encoding": "identity"}, stream=True
        ) as answer:
            while piece := answer.raw.read(PIECE_BYTES, decode_content=False):
                size += len(piece)
        return size

    with ThreadPoolExecutor(PrometheusReader.streams) as pool:
        return sum(pool.map(ask, *zip(*product(starts, nodes, METRICS), strict=True)))


WAYS: dict[str, Callable[[str, Span, Path], int]] = {"extract": extract, "library": library, "fetch": fetch}


def main() -> None:
    """Do the work that the command line names."""
    way, url, start, end, folder = sys.argv[1:]
    span = datetime.fromtimestamp(float(start), timezone.utc), datetime.fromtimestamp(float(end), timezone.utc)
    if way == "library":
        import prometheus_api_client.metric_range_df  # noqa: F401 - imports are not what is measured
    before = _peak_bytes()
    began, wall = time.process_time(), time.perf_counter()
    got = WAYS[way](url, span, Path(folder))
    seconds, wall = time.process_time() - began, time.perf_counter() - wall
    cost = {"cpu_seconds": seconds, "wall_seconds": wall, "peak_bytes": _peak_bytes(), "interpreter_bytes": before}
    print(json.dumps({"got": got, **cost}))


def _peak_bytes() -> int:
    # Of this program alone: what getrusage tells begins with the process that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
