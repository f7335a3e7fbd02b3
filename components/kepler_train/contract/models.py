"""What a training pipeline leaves, what evaluation decides about it, and what the store keeps beside a model."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import msgspec

from kepler_train.contract.documents import Document
from kepler_train.contract.errors import BrokenContract, WrongUsage
from kepler_train.contract.evidence import IdleEvidence, SplitEvidence
from kepler_train.contract.features import FeatureGroup, group_named
from kepler_train.contract.runtimes import CURRENT
from kepler_train.contract.window import Window

MODEL_CLASSES = {"scikit": "model.sav", "keras": "model.h5"}
"""Model class to the model file's name; names and files are the estimator's."""

SCALER_FILE = "scaler.pkl"
METADATA_FILE = "metadata.json"

DYN_POWER, ABS_POWER = "DynPower", "AbsPower"
"""Output types of later estimators: of a pod, above idle; and of a whole node."""
ARCHIVE_FILES = {DYN_POWER: "DynPower.zip", ABS_POWER: "AbsPower.zip"}
"""Output type to the file of a stored version that later estimators fetch."""

SAFE_FILE = "model.skops"
"""In a candidate and a version: the scikit-learn model in a form that holds no code. Estimators do not read it."""

CANDIDATE_FILE = "candidate.json"
MODEL_FOLDER = "model"
"""In a candidate: the folder with the estimator's files (metadata.json without scores, scaler, model, transformers)."""
NODE_MODEL_FOLDER = "node_model"
"""In a candidate, where one could be fitted: files of the same form, of a model of the whole node's energy."""
LOG_FILE = "train.log"

DECISION_FILE = "decision.json"
TRACE_FILE = "trace.parquet"

INDEX_KEY = "index.json"
PROVENANCE_FILE = "provenance.json"
SIGNATURE_FILE = "provenance.json.sig"


class Candidate(Document, frozen=True, kw_only=True):
    """What one training pipeline made in this run: `candidate.json`, beside `model/` unless it failed."""

    run_id: str
    window: Window
    group: FeatureGroup
    model_name: str
    model_class: str
    features: tuple[str, ...]
    """In the model's own order."""
    status: str
    """`trained` or `failed`."""
    reason: str = ""
    """Why it failed, as a sentence; empty if it did not."""
    runtime_name: str = CURRENT
    """The runtime it was made in, and binds to."""
    runtime: dict[str, str] = msgspec.field(default_factory=dict)
    """Interpreter and library to version."""
    idle_millijoules: dict[str, float] = msgspec.field(default_factory=dict)
    """Node to its energy per interval when no pod does anything, as fitted."""
    idle_evidence: dict[str, IdleEvidence] = msgspec.field(default_factory=dict)
    """Node to how sure that is; empty where the training pipeline gave idle energies of its own without saying."""
    split_evidence: SplitEvidence | None = None
    """How well the window tells workloads apart; None where it cannot be measured."""
    identifiability: dict[str, float] = msgspec.field(default_factory=dict)
    """Further measures of how well the window tells pods apart, by name, where the training pipeline gave some."""
    trained_on: dict[str, int] = msgspec.field(default_factory=dict)
    """`pod_rows`, `node_intervals`, `blocks` seen by the fit."""
    train_seconds: float = 0.0
    notes: tuple[str, ...] = ()
    """What a person should know: rows sampled, features without signal, ..."""

    def idle_of(self, node: str) -> float:
        """The idle energy to use for a node: its own, or the mean of the known nodes where it was never seen."""
        return idle_of(self.idle_millijoules, node)


def idle_of(idle_millijoules: dict[str, float], node: str) -> float:
    """A node's idle energy per interval in mJ: its own, else the mean of all known, else 0."""
    if node in idle_millijoules:
        return idle_millijoules[node]
    return sum(idle_millijoules.values()) / len(idle_millijoules) if idle_millijoules else 0.0


class Score(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far Σ pods + idle is from the measured node, over held-out node intervals, load-balanced by weights."""

    mae_millijoules: float
    mse_millijoules2: float
    mape_percent: float
    bias_percent: float
    """Positive: predicts too much."""
    busy_mape_percent: float
    """The same over intervals above the middle between the node's least and most energy."""


class BlockScore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One held-out block: what the paired comparison is made of."""

    block_start_seconds: int
    node_intervals: int
    weight: float
    candidate_mape_percent: float
    reference_mape_percent: float
    """Of the champion, or of the best trivial baseline where there is no champion."""


BEATS_CONSTANT = "beats a constant"
"""The gate that tells groups without signal: better than a constant per node by more than noise."""


class Gate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One condition for publishing."""

    name: str
    passed: bool
    detail: str


class WholeNode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How good a candidate's model of the whole node is; it is published with the model of pods, or not at all."""

    usable: bool
    """Later estimators can use it, and it is better than a constant by more than noise."""
    reason: str
    """One sentence a person reads."""
    score: Score | None = None
    """Asked with the sum of a node's pods, against what the node measured."""
    constant: Score | None = None
    """Of one constant for all nodes: on a node without a sensor, nobody knows that node's own."""


class Canary(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A champion that was new since the last run, on this run's held-out rows beside the version it replaced."""

    version: str
    """The champion's."""
    before: str
    """The version it replaced."""
    score: Score | None = None
    before_score: Score | None = None
    noise_percent: float = 0.0
    """Half the width of the 95 % interval of the difference, in percent of the MAPE of the version before."""
    worse: bool = False
    """By more than noise: the version before is to be served again."""
    problem: str = ""
    """Why the two could not be compared, where they could not."""


class Decision(Document, frozen=True, kw_only=True):
    """What evaluation decided about a candidate: `decision.json`, with `trace.parquet` and a copy of `candidate.json`.

    The copy lets a reader of decisions show what was judged (idle, runtime, notes) without the model's files.
    """

    run_id: str
    group: FeatureGroup
    model_name: str
    model_class: str
    improved: bool
    reason: str
    """One sentence a person reads in the report."""
    failed: bool = False
    """The training pipeline itself failed: the run ends red."""
    candidate: Score | None = None
    champion: Score | None = None
    champion_version: str = ""
    """Empty where the store serves none under this name."""
    champion_damage: str = ""
    """What is wrong with the champion's files, where they could not be used."""
    baselines: dict[str, Score] = msgspec.field(default_factory=dict)
    improvement_percent: float = 0.0
    """How much smaller the candidate's MAPE is than the reference's, relative, in percent."""
    noise_percent: float = 0.0
    """Half the width of the 95 % interval of that improvement, from the blocks."""
    gates: tuple[Gate, ...] = ()
    blocks: tuple[BlockScore, ...] = ()
    held_out: dict[str, int] = msgspec.field(default_factory=dict)
    """`pod_rows`, `node_intervals`, `blocks` judged on."""
    judged_files: dict[str, str] = msgspec.field(default_factory=dict)
    """The candidate's files as they were when an estimator was asked with them: see `checksums_of`."""
    whole_node: WholeNode | None = None
    """None where the candidate has no model of the whole node."""
    canary: Canary | None = None
    """None where the champion was not new, or nobody asked. If it is worse, `champion` is the version before it."""


class Provenance(Document, frozen=True, kw_only=True):
    """Everything about a stored version that the estimator's metadata.json may not hold: `provenance.json`."""

    group: FeatureGroup
    model_name: str
    version: str
    parent: str
    """The version that was served before; empty for the first."""
    published: datetime
    candidate: Candidate
    decision: Decision
    files: dict[str, str]
    """File name to sha256, of every other file of the version but the signature."""
    signed_by: str = ""
    """The id of the key that the publisher signs with; empty where publishing without a key was chosen."""


class Signature(Document, frozen=True, kw_only=True):
    """Who vouches for a version: `provenance.json.sig`, an ed25519 signature of the bytes of `provenance.json`."""

    key_id: str
    """The first 16 hexadecimal digits of the sha256 of the raw public key."""
    signature: bytes
    """64 bytes; base64 in the file."""


class TakenBack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version that was served under a name until somebody went back."""

    version: str
    run_id: str = ""
    """The run whose canary did; empty for a person."""


class Served(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the index says of one champion."""

    version: str
    published: datetime
    provenance_sha256: str
    new: bool = False
    """Published, and not yet compared with the version before by a later run."""
    taken_back: tuple[TakenBack, ...] = ()
    """By version: no run serves them again."""


class Index(Document, frozen=True, kw_only=True):
    """What is served: `index.json`, one small object, replaced by compare-and-swap."""

    runtime: str = CURRENT
    """The runtime of all models served: an estimator that reads some of them can read every one."""
    models: dict[str, dict[str, Served]] = msgspec.field(default_factory=dict)
    """Group to model name to the version served."""
    retired: tuple[str, ...] = ()
    """`group/name/version` of what is being deleted, and must be served by nobody any more."""
    revision: int = 0
    """One more with each change, so that no two states have the same bytes: a compare-and-swap tells them apart by
    these alone."""

    def served(self, group: FeatureGroup, model_name: str) -> Served | None:
        """The champion of a name, or None where there is none."""
        return self.models.get(group.value, {}).get(model_name)

    def entries(self) -> Iterator[tuple[FeatureGroup, str, Served]]:
        """Go through what is served, by group and name."""
        for group, models in sorted(self.models.items()):
            for model_name, served in sorted(models.items()):
                yield group_named(group), model_name, served

    def require_runtime(self, runtime: str, store: str) -> None:
        """Raise WrongUsage, naming the store, where it serves models of another runtime."""
        if any(self.models.values()) and self.runtime != runtime:
            raise WrongUsage(
                f"{store} serves models of runtime {self.runtime}, not {runtime}; a store has one runtime, since an "
                f"estimator could not load the other's models: use runtime {self.runtime}, or another store"
            )


def version_key(group: FeatureGroup, model_name: str, version: str, file: str = "") -> str:
    """The store key of a version's file (or of its folder, with an ending slash)."""
    return f"models/{group.value}/{model_name}/{version}/{file}"


def flat_name(group: FeatureGroup, model_name: str) -> str:
    """A model's name that is unique over all groups, for an estimator with one flat folder."""
    return f"{group.value}-{model_name}"


def checksums_of(candidate: Path) -> dict[str, str]:
    """Checksums of all that is published of a candidate, its description and safe form included: path to sha256.

    Raises BrokenContract for what is no file: no candidate holds it that a training pipeline's step has checked.
    """
    files = [candidate / CANDIDATE_FILE, *candidate.glob(SAFE_FILE)]
    files += [file for folder in (MODEL_FOLDER, NODE_MODEL_FOLDER) for file in sorted((candidate / folder).glob("*"))]
    if strange := [str(file) for file in files if not file.is_file()]:
        raise BrokenContract(f"{', '.join(strange)}: no file of a model; train it again")
    return {file.relative_to(candidate).as_posix(): sha256(file.read_bytes()).hexdigest() for file in files}


def read_candidate(folder: Path) -> Candidate:
    """Read a candidate's description."""
    return Candidate.read(folder / CANDIDATE_FILE)


def read_decision(folder: Path) -> Decision:
    """Read a decision."""
    return Decision.read(folder / DECISION_FILE)
