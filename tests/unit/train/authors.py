"""Classes as authors write them, good and bad, by name for the step and the suite."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler

from kepler_train import Fitted, StreamingPipeline, TrainPipeline
from kepler_train.contract.evidence import IdleEvidence, IdleSource
from kepler_train.contract.features import COUNTER_FEATURES
from kepler_train.contract.parts import read_part


class Counters(TrainPipeline):
    """A sound class: coefficients ≥ 0, fitted to sums over pods; its features are not in the usual order."""

    model_name = "counters"
    model_class = "scikit"
    model_file = "model.sav"
    features = COUNTER_FEATURES[::-1]

    intercept = 0.0

    def train(self, pod_stat_data, node_stat_data, freq_data, pkg_data):
        training = self.training_part(pod_stat_data, node_stat_data, freq_data, pkg_data)
        scaler = MaxAbsScaler().fit(training.pods)
        model = LinearRegression(positive=True, fit_intercept=False)
        idle = training.idle_millijoules()
        dynamic = training.energy_millijoules - np.array([idle[node] for node in training.node])
        model.fit(training.sum_over_pods(scaler.transform(training.pods)), dynamic)
        model.intercept_ = self.intercept
        return self.update(self.fitted_of(model, scaler, idle))

    def fitted_of(self, model, scaler, idle):
        return Fitted(model=model, scaler=scaler, idle_millijoules=idle)


class Small(Counters):
    model_name = "small"
    max_pod_rows = 500


class Raises(Counters):
    model_name = "raises"

    def train(self, pod_stat_data, node_stat_data, freq_data, pkg_data):
        print("about to divide")  # noqa: T201
        return 1 / 0


class Exits(Raises):
    model_name = "exits"

    def train(self, pod_stat_data, node_stat_data, freq_data, pkg_data):
        sys.exit("enough")


class EndsItsProcess(Raises):
    model_name = "ends-its-process"

    def train(self, pod_stat_data, node_stat_data, freq_data, pkg_data):
        print("about to end")  # noqa: T201
        os._exit(3)


class IsKilled(Raises):
    model_name = "is-killed"

    def train(self, pod_stat_data, node_stat_data, freq_data, pkg_data):
        os.kill(os.getpid(), signal.SIGKILL)


class TakesTooLong(Raises):
    model_name = "takes-too-long"

    def train(self, pod_stat_data, node_stat_data, freq_data, pkg_data):
        os.kill(os.getpid(), signal.SIGXCPU)


class Waits(Raises):
    """Says which process it is, and does no more."""

    model_name = "waits"

    def train(self, pod_stat_data, node_stat_data, freq_data, pkg_data):
        print("process", os.getpid())  # noqa: T201
        time.sleep(60)


class NoText(Exception):
    def __str__(self):
        raise RuntimeError


class RaisesWithoutText(Raises):
    model_name = "raises-without-text"

    def train(self, pod_stat_data, node_stat_data, freq_data, pkg_data):
        raise NoText


class RaisesBrokenText(Raises):
    model_name = "raises-broken-text"

    def train(self, pod_stat_data, node_stat_data, freq_data, pkg_data):
        print("read from a file name: \udcff")  # noqa: T201
        raise ValueError("no such file:\n  \udcff")


class ReadsSomethingElse(Raises):
    model_name = "reads-something-else"

    def train(self, pod_stat_data, node_stat_data, freq_data, pkg_data):
        read_part(self.folder)


class OfNoGroup(Counters):
    model_name = "of-no-group"
    features = ("curr_cpu_time", "curr_cpu_cycles")


class OfNumpy(Counters):
    model_name = "of-numpy"
    features = np.array(COUNTER_FEATURES)


class GivesANote(Counters):
    model_name = "gives-a-note"
    notes = "few samples"

    def fitted_of(self, model, scaler, idle):
        return Fitted(model=model, scaler=scaler, idle_millijoules=idle, notes=self.notes)


class GivesNotes(GivesANote):
    model_name = "gives-notes"
    notes = ["few samples"]  # noqa: RUF012


class GivesABrokenNote(GivesANote):
    model_name = "gives-a-broken-note"
    notes = "of \udcff"


class WritesNothing(Raises):
    model_name = "writes-nothing"

    def train(self, pod_stat_data, node_stat_data, freq_data, pkg_data):
        return None


class WritesItself(Counters):
    """Leaves the estimator's files itself, without update."""

    model_name = "writes-itself"

    def fitted_of(self, model, scaler, idle):
        fitted = super().fitted_of(model, scaler, idle)
        other = Counters(self.folder / "other")
        other.update(fitted)
        for file in other.model_folder.iterdir():
            (self.model_folder / file.name).write_bytes(file.read_bytes())
        shutil.rmtree(self.folder / "other")
        path = self.model_folder / "metadata.json"
        path.write_text(path.read_text().replace('"counters"', '"writes-itself"'))

    def update(self, fitted):
        return None


class WritesOtherFile(WritesItself):
    model_name = "writes-itself"

    def fitted_of(self, model, scaler, idle):
        super().fitted_of(model, scaler, idle)
        (self.model_folder / "model.sav").rename(self.model_folder / "model.h5")


class SaysOtherwise(WritesItself):
    """Writes metadata that is not what the class declares."""

    model_name = "writes-itself"

    def fitted_of(self, model, scaler, idle):
        super().fitted_of(model, scaler, idle)
        path = self.model_folder / "metadata.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "features": list(COUNTER_FEATURES)}))


class LeavesAFolder(WritesItself):
    model_name = "writes-itself"

    def fitted_of(self, model, scaler, idle):
        super().fitted_of(model, scaler, idle)
        (self.model_folder / "__pycache__").mkdir()


class LeavesALink(WritesItself):
    model_name = "writes-itself"

    def fitted_of(self, model, scaler, idle):
        super().fitted_of(model, scaler, idle)
        (self.model_folder / "latest").symlink_to("nowhere")


class KeepsAFolderAsModel(WritesItself):
    model_name = "writes-itself"

    def fitted_of(self, model, scaler, idle):
        super().fitted_of(model, scaler, idle)
        (self.model_folder / "model.sav").unlink()
        (self.model_folder / "model.sav").mkdir()


class LeavesNotes(WritesItself):
    model_name = "writes-itself"

    def fitted_of(self, model, scaler, idle):
        super().fitted_of(model, scaler, idle)
        (self.model_folder / "provenance.json").write_text("{}")


class NamesATransformerAsTheStoreDoes(LeavesNotes):
    model_name = "writes-itself"

    def fitted_of(self, model, scaler, idle):
        super().fitted_of(model, scaler, idle)
        path = self.model_folder / "metadata.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "fe_files": ["provenance.json"]}))


class CallsItselfAnother(Counters):
    model_name = "calls-itself-another"

    def fitted_of(self, model, scaler, idle):
        self.model_name = "concave"
        return super().fitted_of(model, scaler, idle)


class NotANumber(Counters):
    model_name = "not-a-number"
    intercept = float("nan")


class KnowsWhatItSaw(Counters):
    model_name = "knows-what-it-saw"

    def fitted_of(self, model, scaler, idle):
        return Fitted(model, scaler, {"arcsin.pkl": FunctionTransformer(np.arcsin)}, idle)


class KeepsALambda(Counters):
    model_name = "keeps-a-lambda"

    def fitted_of(self, model, scaler, idle):
        return Fitted(model=model, scaler=FunctionTransformer(lambda x: x), idle_millijoules=idle)


class OwnRegressor(LinearRegression):
    pass


class KeepsAnOwnClass(Counters):
    model_name = "keeps-an-own-class"

    def fitted_of(self, model, scaler, idle):
        own = OwnRegressor()
        own.__dict__.update(model.__dict__)
        return super().fitted_of(own, scaler, idle)


def unchanged(rows):
    return rows


class KeepsAnOwnFunction(Counters):
    model_name = "keeps-an-own-function"

    def fitted_of(self, model, scaler, idle):
        return Fitted(model, scaler, {"own.pkl": FunctionTransformer(unchanged)}, idle)


class GivesToTheIdle(Counters):
    model_name = "gives-to-the-idle"
    intercept = 20_000.0


class LooksAround(Counters):
    """Scales by what else is in the request."""

    model_name = "looks-around"

    def fitted_of(self, model, scaler, idle):
        from sklearn.preprocessing import normalize

        return Fitted(model, FunctionTransformer(normalize, kw_args={"axis": 0, "norm": "max"}), {}, idle)


class Unrepeatable(Counters):
    model_name = "unrepeatable"

    def fitted_of(self, model, scaler, idle):
        model.coef_ = model.coef_ * np.random.default_rng().uniform(0.9, 1.1)
        return super().fitted_of(model, scaler, idle)


class GivesNoNumberAsIdle(Counters):
    model_name = "gives-no-number-as-idle"

    def fitted_of(self, model, scaler, idle):
        return super().fitted_of(model, scaler, {node: float("nan") for node in idle})


class GivesNoEvidence(Counters):
    model_name = "gives-no-evidence"
    evidence = (1.0, 2.0)

    def fitted_of(self, model, scaler, idle):
        return Fitted(model, scaler, idle_millijoules=idle, idle_evidence=dict.fromkeys(idle, self.evidence))


class GivesEndlessEvidence(GivesNoEvidence):
    model_name = "gives-endless-evidence"
    evidence = IdleEvidence(0.0, float("inf"), IdleSource.QUIET)


class FailsTheSecondTime(Counters):
    model_name = "fails-the-second-time"
    trained = 0

    def fitted_of(self, model, scaler, idle):
        FailsTheSecondTime.trained += 1
        if FailsTheSecondTime.trained % 2 == 0:
            raise RuntimeError("again")
        return super().fitted_of(model, scaler, idle)


class NamedAsOneShipped(Counters):
    model_name = "concave"


class InJoules(Counters):
    model_name = "in-joules"

    def fitted_of(self, model, scaler, idle):
        model.coef_ = model.coef_ / 1000
        return super().fitted_of(model, scaler, {node: 10 * energy for node, energy in idle.items()})


class Streams(StreamingPipeline):
    """Looks at batches in its own order of features."""

    model_name = "streams"
    model_class = "scikit"
    model_file = "model.sav"
    features = COUNTER_FEATURES[::-1]

    def fit(self, batches):
        most = np.max([batch.pods.max(axis=0) for batch in batches()], axis=0)
        model = LinearRegression()
        model.coef_, model.intercept_, model.n_features_in_ = np.array([1e5, 0.0, 0.0]), 0.0, 3
        return Fitted(model=model, scaler=MaxAbsScaler().fit(most[None, :]))
