"""The same with pandas from JSON: whole answers into data frames, merges, a frame for each group, fits on all rows.

python -m benchmarks.workflow.peer TASK DONE

It stands for what someone fluent in pandas writes, and for what the systems before this one did. In its favour: raw
samples are asked for, since a range query would give each of them a hundred times where series carry no staleness
markers; by half hours of a node, which costs a server least; only wanted labels become columns; energies are grouped
and merged without a Python loop over rows; it imports everything once. Its networks go over the rows five times, in
large batches, with as few units as ours; ours are no better for being asked to do more. It keeps nothing that is needed
to trust a model: no reasons for what is dropped, no gates, no champion, no report, no checksums.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.workflow.task import Done, StepUse, Task, read_task, write

from kepler_train.contract.features import ARCHITECTURE, WORKLOAD_FEATURES
from kepler_train.contract.held_out import GAP, HELD_OUT, split
from kepler_train.contract.window import INTERVAL_SECONDS

if TYPE_CHECKING:
    import pandas as pd

ASKED_AT_ONCE = timedelta(minutes=30)
UNITS, PASSES, BATCH_ROWS = 32, 5, 1024
KEYS = ["instance", "timestamp"]
COLUMNS = {
    "pod_energy_stat": ["pod_name", "pod_namespace"],
    "node_energy_stat": [ARCHITECTURE],
    "node_package_energy_millijoule": ["pkg_id"],
    "node_cpu_scaling_frequency_hertz": ["cpu"],
}
"""Names that become columns, beside those of KEYS."""


class Peer:
    """Does a task step by step, and keeps account of what each took."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.steps: list[StepUse] = []

    def run(self) -> Done:
        """Query, merge, fit."""
        task = self.task
        task.folder.mkdir()
        with self._step("import"):
            self._import()
        with self._step("query into frames"):
            frames = {metric: self._frame(metric) for metric in COLUMNS}
        pods = frames["pod_energy_stat"]
        rows = len(pods)
        with self._step("merge"):
            pods = self._with_target(pods, self._energies(frames["node_package_energy_millijoule"]))
        for group, names in task.groups.items():
            features = [feature for feature in group.features if feature != ARCHITECTURE]
            with self._step("group's frame"):
                frame = pods[[*KEYS, *features, "energy", "idle", "target", "part"]].dropna()
                training, held_out = frame[frame["part"] != HELD_OUT], frame[frame["part"] == HELD_OUT]
                training = training[training["part"] != GAP]
            for name in names:
                with self._step("fit"):
                    scaler, model = self._fit(name, training, features)
                with self._step("judge and save"):
                    self._judge(name, scaler, model, held_out, features)
                    self._save(f"{group.value}-{name}", scaler, model)
        return Done(rows, tuple(self.steps))

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began = time.process_time()
        yield
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
        self.steps.append(StepUse(name, time.process_time() - began, peak))

    def _import(self) -> None:
        import pandas as pd
        import prometheus_api_client
        import sklearn.linear_model
        import sklearn.neural_network  # noqa: F401

        if any(name.endswith("keras") for names in self.task.pipelines.values() for name in names):
            import keras  # noqa: F401
        self.pd = pd
        self.connection = prometheus_api_client.PrometheusConnect(self.task.prometheus_url)
        self.nodes = self.connection.get_label_values("instance")

    def _frame(self, metric: str) -> pd.DataFrame:
        """Ask for all of a metric, then make a frame of the wanted labels, numbers as numbers."""
        answers: list[dict[str, Any]] = []
        end = self.task.start
        while end < self.task.end:
            asked = min(ASKED_AT_ONCE, self.task.end - end)
            end += asked
            for node in self.nodes:
                query = f'{metric}{{instance="{node}"}}[{asked.total_seconds():.0f}s]'
                answers += self.connection.custom_query(query, params={"time": end.timestamp()})
        names = ["instance", *COLUMNS[metric]]
        numbers = list(WORKLOAD_FEATURES) if metric == "pod_energy_stat" else []
        # The exporter writes each feature as curr_…, also those whose names lack it.
        labels = [*names, *(f"curr_{feature.removeprefix('curr_')}" for feature in numbers)]
        samples = (
            [*map(one["metric"].get, labels), moment, value] for one in answers for moment, value in one["values"]
        )
        frame = self.pd.DataFrame(samples, columns=[*names, *numbers, "timestamp", "value"])
        for column in [*numbers, "value"]:
            frame[column] = self.pd.to_numeric(frame[column], errors="coerce")
        frame["timestamp"] = (frame["timestamp"] * 1000).round().astype("int64")
        for column in names:
            frame[column] = frame[column].astype("category")
        return frame.drop_duplicates([*names, "timestamp"])

    def _energies(self, packages: pd.DataFrame) -> pd.DataFrame:
        """The measured energy of each node interval, in mJ: differences of the packages' counters, added up."""
        packages = packages.sort_values(["instance", "pkg_id", "timestamp"])
        by_package = packages.groupby(["instance", "pkg_id"], observed=True)
        difference, elapsed = by_package["value"].diff(), by_package["timestamp"].diff()
        whole = (difference > 0) & (elapsed == INTERVAL_SECONDS * 1000)
        energies = packages.assign(energy=difference)[whole].groupby(KEYS, observed=True)["energy"]
        energies = energies.agg(["sum", "count"]).reset_index().rename(columns={"sum": "energy"})
        return energies[energies["count"] == packages["pkg_id"].nunique()]

    def _with_target(self, pods: pd.DataFrame, energies: pd.DataFrame) -> pd.DataFrame:
        """Give each pod row its part, by CPU time, of what its node used beyond its least."""
        energies = energies.assign(
            idle=energies.groupby("instance", observed=True)["energy"].transform("min"),
            part=split(energies["timestamp"].to_numpy(), INTERVAL_SECONDS),
        )
        pods = pods.merge(energies, on=KEYS)
        total = pods.groupby(KEYS, observed=True)["curr_cpu_time"].transform("sum")
        pods["target"] = (pods["energy"] - pods["idle"]) * pods["curr_cpu_time"] / total
        return pods

    def _fit(self, name: str, training: pd.DataFrame, features: list[str]) -> tuple[Any, Any]:
        from sklearn.linear_model import LinearRegression
        from sklearn.neural_network import MLPRegressor
        from sklearn.preprocessing import MaxAbsScaler

        target = training["target"].to_numpy()
        scaler = MaxAbsScaler()
        rows = scaler.fit_transform(training[features].to_numpy())
        if name == "linear":
            return scaler, LinearRegression().fit(rows, target)
        if not name.endswith("keras"):
            model = MLPRegressor(
                hidden_layer_sizes=(UNITS,), batch_size=min(BATCH_ROWS, len(rows)), max_iter=PASSES, tol=0.0
            )
            return scaler, model.fit(rows, target)
        from keras import Input, Sequential, layers

        network = Sequential([Input((len(features),)), layers.Dense(UNITS, activation="relu"), layers.Dense(1)])
        network.compile("adam", "mse")
        network.fit(rows, target, batch_size=BATCH_ROWS, epochs=PASSES, verbose=0)
        return scaler, network

    def _judge(self, name: str, scaler: Any, model: Any, held_out: pd.DataFrame, features: list[str]) -> float:
        """The mean error, in percent, of what the model says of each held-out node interval."""
        options = {"verbose": 0, "batch_size": 8192} if name.endswith("keras") else {}
        powers = model.predict(scaler.transform(held_out[features].to_numpy()), **options).reshape(-1)
        by_interval = held_out.assign(power=powers).groupby(KEYS, observed=True)
        sums = by_interval.agg({"power": "sum", "energy": "first", "idle": "first"})
        return float(100 * ((sums["power"] + sums["idle"]) / sums["energy"] - 1).abs().mean())

    def _save(self, name: str, scaler: Any, model: Any) -> None:
        import joblib

        joblib.dump(scaler, self.task.folder / f"{name}-scaler.pkl")
        if name.endswith("keras"):
            model.save(self.task.folder / f"{name}.keras")
        else:
            joblib.dump(model, self.task.folder / f"{name}.sav")


if __name__ == "__main__":
    write(Path(sys.argv[2]), Peer(read_task(Path(sys.argv[1]))).run())
