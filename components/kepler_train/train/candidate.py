"""Writing a candidate: the folder that an estimator reads, and what is to be known of it."""

from __future__ import annotations

import json
import math
import pickle
import platform
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kepler_train.contract.documents import write_atomically
from kepler_train.contract.errors import NotLoadable, PipelineError
from kepler_train.contract.evidence import IdleEvidence, IdleSource
from kepler_train.contract.models import CANDIDATE_FILE, METADATA_FILE, SCALER_FILE, Candidate
from kepler_train.contract.runtimes import runtime_here
from kepler_train.contract.window import Window
from kepler_train.estimators.d351cbf import Request, load, read_metadata
from kepler_train.estimators.stock import require_stock

if TYPE_CHECKING:
    from kepler_train.train.pipeline import Fitted, TrainPipeline

PICKLE_PROTOCOL = 4
"""The newest that every Python with a published estimator reads."""

_LIBRARIES = ("numpy", "scipy", "sklearn", "pandas", "tensorflow", "keras")
_TRANSFORMER_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.pkl")


def write_model(pipeline: TrainPipeline, fitted: Fitted, folder: Path) -> None:
    """Write what a fit left as the files that an estimator reads; raises PipelineError for what it could not be."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if fitted.model is None or fitted.scaler is None:
        raise PipelineError("Fitted has no model or no scaler; an estimator needs both")
    _check_names(fitted.transformers)
    for name, transformer in ((SCALER_FILE, fitted.scaler), *fitted.transformers.items()):
        _write_pickle(folder / name, transformer)
    if pipeline.model_class == "keras":
        _write_keras(folder / pipeline.model_file, fitted.model)
    else:
        _write_pickle(folder / pipeline.model_file, fitted.model)
    metadata = {
        "model_name": pipeline.model_name,
        "model_class": pipeline.model_class,
        "model_file": pipeline.model_file,
        "features": list(pipeline.features),
        "fe_files": list(fitted.transformers),
    }
    write_atomically(folder / METADATA_FILE, json.dumps(metadata, indent=1).encode())


def check_model(pipeline: TrainPipeline, request: Request) -> None:
    """Check that the files are those declared, and that an estimator would get usable powers for a request, (m, n).

    Raises PipelineError.
    """
    folder = pipeline.model_folder
    if not folder.is_dir() or not any(folder.iterdir()):
        raise PipelineError(
            "train wrote no model; end it with `return self.update(Fitted(...))`, or write the estimator's files to "
            "self.model_folder"
        )
    if strange := [path for path in folder.iterdir() if path.is_symlink() or not path.is_file()]:
        raise PipelineError(f"train left {_listed(strange)} in self.model_folder, which holds plain files only")
    for name in (METADATA_FILE, SCALER_FILE, pipeline.model_file):
        if not (folder / name).is_file():
            raise PipelineError(f"train wrote {_listed(folder.iterdir())}, but no {name}")
    try:
        metadata = read_metadata(folder, pipeline.model_name)
        declared = (pipeline.model_class, pipeline.model_file, tuple(pipeline.features))
        if (metadata.model_class, metadata.model_file, metadata.features) != declared:
            raise PipelineError(f"{METADATA_FILE} says other than the class declares; leave it to self.update")
        _check_names(metadata.fe_files)
        known = {METADATA_FILE, SCALER_FILE, metadata.model_file, *metadata.fe_files}
        if unknown := [path for path in folder.iterdir() if path.name not in known]:
            raise PipelineError(
                f"train left {_listed(unknown)} in self.model_folder, which {METADATA_FILE} does not name; keep there "
                "only what an estimator reads"
            )
        require_stock(folder, pipeline.model_name)
        load(folder, pipeline.model_name).powers(request)
    except NotLoadable as cause:
        raise PipelineError(str(cause)) from cause


def describe(pipeline: TrainPipeline, window: Window, trained_on: dict[str, int], train_seconds: float) -> Candidate:
    """Describe what a pipeline trained; raises PipelineError for what it says of it that is no number."""
    fitted = pipeline.fitted
    return Candidate(
        run_id=window.run_id,
        window=window,
        group=pipeline.group,
        model_name=pipeline.model_name,
        model_class=pipeline.model_class,
        features=tuple(pipeline.features),
        status="trained",
        runtime_name=runtime_here(),
        runtime=runtime(),
        idle_millijoules=_finite(fitted.idle_millijoules, "idle_millijoules") if fitted else {},
        idle_evidence=_evidence(fitted.idle_evidence) if fitted else {},
        identifiability=_finite(fitted.identifiability, "identifiability") if fitted else {},
        trained_on=trained_on,
        train_seconds=train_seconds,
        notes=_texts(fitted.notes) if fitted else (),
    )


def write_candidate(candidate: Candidate, folder: Path) -> None:
    """Write a candidate's description into its folder."""
    candidate.write(folder / CANDIDATE_FILE)


def runtime() -> dict[str, str]:
    """The interpreter and the libraries that were used, with their versions."""
    used = {name: sys.modules[name] for name in _LIBRARIES if name in sys.modules}
    versions = {name: str(getattr(module, "__version__", "unknown")) for name, module in used.items()}
    return {"python": platform.python_version(), **versions}


def _finite(values: Mapping[str, float], what: str) -> dict[str, float]:
    """Numbers by name; raises PipelineError for one that no document can hold."""
    numbers = {str(name): float(value) for name, value in values.items()}
    if broken := [f"{value} for {name}" for name, value in numbers.items() if not math.isfinite(value)]:
        raise PipelineError(f"{what} of Fitted is {', '.join(broken)}; give finite numbers")
    return numbers


def _evidence(values: Mapping[str, IdleEvidence]) -> dict[str, IdleEvidence]:
    """Evidence by node; raises PipelineError for what no document can hold, or nobody could read there."""
    evidence = {}
    for node, given in values.items():
        try:
            low, high = float(given.low_millijoules), float(given.high_millijoules)
            found = IdleEvidence(low, high, IdleSource(given.source))
        except (AttributeError, TypeError, ValueError):
            found = None
        if found is None or not math.isfinite(low) or not math.isfinite(high):
            raise PipelineError(
                f"idle_evidence of Fitted is {given!r} for {node}; give IdleEvidence, of finite numbers"
            )
        evidence[str(node)] = found
    return evidence


def _texts(notes: str | Sequence[str]) -> tuple[str, ...]:
    return (notes,) if isinstance(notes, str) else tuple(map(str, notes))


def _write_pickle(path: Path, content: Any) -> None:
    try:
        with path.open("wb") as file:
            pickle.dump(content, file, protocol=PICKLE_PROTOCOL)
    except (pickle.PicklingError, TypeError, AttributeError) as cause:
        raise PipelineError(f"{path.name} cannot be pickled: {cause}; use stock scikit-learn classes") from cause


def _write_keras(path: Path, model: Any) -> None:
    if not callable(getattr(model, "save", None)):
        raise PipelineError(f"model_class is keras, but the model is a {type(model).__name__}")
    # Without compile state: an estimator of another Keras could not find the loss again.
    model.save(str(path), include_optimizer=False)


def _check_names(transformers: Iterable[str]) -> None:
    for name in transformers:
        if not _TRANSFORMER_FILE.fullmatch(name) or name == SCALER_FILE:
            raise PipelineError(f"a transformer cannot be kept as {name!r}; name it such as 'spline.pkl'")


def _listed(paths: Iterable[Path]) -> str:
    return ", ".join(sorted(path.name for path in paths))
