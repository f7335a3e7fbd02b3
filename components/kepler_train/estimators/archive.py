"""What kepler-estimator does with a model after 16 September 2022, done here exactly as it does it.

A model is a zip archive, fetched by HTTP when the first request of its output type comes, from the one URL that is
configured for that type. It is unpacked, loaded and removed; another is taken up only when the estimator starts anew.
There is no scaler: every transformer is among `fe_files`. Features carry no `curr_`.

Powers are millijoules per sampling interval, as of d351cbf: the exporter of those months adds an AbsPower answer to
the same counter of millijoules that a sensor's readings go to, and feeds it the sum of a node's pods as the one row
(kepler, October 2022: `GetNodeTotalPower` in pkg/model/node_total_power.go, `addEstimatedSensorData` and
`sumUsage` in pkg/collector). For one row the estimator answers a bare number, not a list of one.

The estimator prints what goes wrong, or ends. Here each of these raises NotLoadable and says what it would have done.
Stricter than the estimator is what is refused of an archive before it is unpacked (see `zips`), and the size of an
answer. Pickles are opened: verify where an archive comes from before loading it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Any

from kepler_train.contract.errors import NotLoadable
from kepler_train.contract.features import ARCHITECTURE
from kepler_train.contract.models import ABS_POWER, DYN_POWER, METADATA_FILE, SCALER_FILE
from kepler_train.estimators.exporter_request import REFUSED, data_frame, read_request
from kepler_train.estimators.model_files import brief, keras_model, names, read_flat_object, unpickled
from kepler_train.estimators.zips import MOST_BYTES, pack, unpack, write_files

if TYPE_CHECKING:
    import numpy as np  # imported where a model is asked: whoever only packs or reads metadata needs none
    import numpy.typing as npt
    import pandas as pd

OUTPUT_TYPES = (DYN_POWER, ABS_POWER)
"""Those of components are another form, which is not published."""

REQUIRED_KEYS = ("model_class", "model_name", "output_type", "model_file", "features")

_ENDS = "the estimator would end at the first request"
_SILENT = "the estimator would answer no powers, and end at the second request"
_TIMEOUT_SECONDS = 30.0
_ROWS_AT_ONCE = 8192
_PIECE = 1 << 16
_REQUEST_KEYS = ("metrics", "values", "output_type", "system_features", "system_values")
_OPTIONAL_REQUEST_KEYS = ("model_name", "filter")


@dataclass(frozen=True)
class Metadata:
    """What the estimator reads of an archive's `metadata.json`."""

    model_name: str
    output_type: str
    model_class: str
    model_file: str
    features: tuple[str, ...]
    fe_files: tuple[str, ...]


@dataclass(frozen=True)
class Model:
    """A model as the estimator holds it: transformers, and the model itself."""

    metadata: Metadata
    transformers: tuple[Any, ...]
    model: Any

    def answer(self, rows: npt.NDArray[Any]) -> list[float] | float:
        """Answer one request, (m, n), as the estimator would: mJ per interval for m rows, a bare number for one.

        Raises NotLoadable where the estimator would not have answered a usable number for each row.
        """
        return self._predicted(rows).tolist()  # type: ignore[no-any-return]

    def power_array(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Score many rows, (m, n), as `answer` would, in bounded memory; (m,) mJ per interval."""
        import numpy as np

        starts = range(0, len(rows), _ROWS_AT_ONCE)
        chunks = [self._predicted(rows[start : start + _ROWS_AT_ONCE]) for start in starts]
        return np.concatenate([np.atleast_1d(chunk) for chunk in chunks]).astype(np.float64) if chunks else np.empty(0)

    def _predicted(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        import numpy as np

        name = self.metadata.model_name
        options = {"verbose": 0} if self.metadata.model_class == "keras" else {}
        try:
            x = rows
            for transformer in self.transformers:
                x = transformer.transform(x)
            y: npt.NDArray[Any] = self.model.predict(x, **options).squeeze()
            y[y < 0] = 0
        except Exception as cause:
            raise NotLoadable(f"{name} fails for {_counted(rows)}: {brief(cause)}; {_SILENT}") from cause
        if y.shape != ((len(rows),) if len(rows) != 1 else ()):
            raise NotLoadable(
                f"{name} answers powers of shape {y.shape} for {_counted(rows)}; the exporter needs one each"
            )
        if y.dtype.kind not in "fiu" or not np.isfinite(y).all():
            raise NotLoadable(
                f"{name} predicts NaN, infinity or no numbers; the estimator's answer would be no valid JSON"
            )
        return y


@dataclass
class Estimator:
    """One run of the estimator: a URL for each output type, and the models fetched from there."""

    urls: Mapping[str, str]
    folder: Path
    """Where archives are unpacked, each in a folder named by its output type, until they are loaded."""
    loaded: dict[str, Model] = field(default_factory=dict)

    def answer(self, request: bytes) -> bytes:
        """Answer one request of the exporter, JSON for JSON.

        Raises NotLoadable where the estimator would have answered an error, or nothing.
        """
        asked = _read_request(request)
        frame = _data_frame(asked)
        output_type = asked["output_type"]
        if output_type not in self.loaded:
            self.loaded[output_type] = self._fetch(output_type, asked["metrics"], asked.get("filter", ""))
        model = self.loaded[output_type]
        try:
            rows = frame[list(model.metadata.features)].to_numpy()
        except KeyError as cause:
            raise NotLoadable(
                f"a request does not fit {model.metadata.model_name}: {brief(cause)}; {_SILENT}"
            ) from cause
        return json.dumps({"powers": model.answer(rows), "msg": ""}, allow_nan=False).encode()

    def _fetch(self, output_type: str, metrics: Sequence[str], choice: str) -> Model:
        url = self.urls.get(output_type, "")
        if not url:
            raise NotLoadable(f"no URL is configured for {output_type}; the estimator would answer no powers")
        unpacked = self.folder / output_type
        write_files(unpack(_get(url), url), unpacked)
        try:
            metadata = read_metadata(unpacked, url)
            missing = [feature for feature in metadata.features if feature not in metrics]
            if missing:
                raise NotLoadable(
                    f"{url} needs {', '.join(missing)}, which is not asked; the estimator would refuse it"
                )
            if choice:
                raise NotLoadable(f"{url} is asked for with the filter {choice!r}, by which the estimator refuses all")
            if metadata.output_type != output_type:
                raise NotLoadable(f"{url} is a model of {metadata.output_type}, asked for {output_type}; {_SILENT}")
            return load(unpacked, url)
        finally:
            shutil.rmtree(unpacked)


def load(folder: Path, origin: str) -> Model:
    """Load an unpacked archive as the estimator does; raises NotLoadable, naming `origin`, where it could not."""
    metadata = read_metadata(folder, origin)
    with _told_of(origin):
        transformers = tuple(unpickled(folder / file, _SILENT) for file in metadata.fe_files)
        path = folder / metadata.model_file
        if metadata.model_class == "keras":
            return Model(metadata, transformers, keras_model(path, _SILENT, {"coeff_determination": _unused_metric}))
        return Model(metadata, transformers, unpickled(path, _SILENT))


def read_metadata(folder: Path, origin: str) -> Metadata:
    """Read and check an unpacked archive's metadata, and that the files it names are there.

    Raises NotLoadable, naming `origin`, where the estimator would end or answer nothing.
    """
    path = folder / METADATA_FILE
    with _told_of(origin):
        metadata = _metadata(path, read_flat_object(path, REQUIRED_KEYS, _ENDS))
        for file in (*metadata.fe_files, metadata.model_file):
            if not (folder / file).is_file():
                raise NotLoadable(f"{path} names {file}, which is not in the archive; {_SILENT}")
        return metadata


def archived(files: Mapping[str, bytes], output_type: str, **metadata: Any) -> bytes:
    """Make the archive of a model from its files as d351cbf has them; `metadata` adds to or replaces what they say.

    The scaler becomes the first of `fe_files`, so that an answer is what d351cbf's is, but for rounding.
    """
    described = {**json.loads(files[METADATA_FILE]), **metadata, "output_type": output_type}
    described["features"] = [archive_name(feature) for feature in described["features"]]
    described["fe_files"] = [SCALER_FILE, *described.get("fe_files", [])]
    kept = {name: files[name] for name in (*described["fe_files"], described["model_file"])}
    return pack({**kept, METADATA_FILE: json.dumps(described, indent=1).encode()})


def require_archive(content: bytes, output_type: str, origin: str) -> None:
    """Raise NotLoadable, naming `origin`, where an estimator could not use an archive; no pickle is opened."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / output_type
        write_files(unpack(content, origin), folder)
        found = read_metadata(folder, origin).output_type
    if found != output_type:
        raise NotLoadable(f"{origin} is a model of {found}, not {output_type}; {_SILENT}")


def archive_name(feature: str) -> str:
    """A feature's name in this dialect: without `curr_`."""
    return feature.removeprefix("curr_")


def request_for(output_type: str, features: Sequence[str], rows: npt.NDArray[Any]) -> bytes:
    """What an exporter sends to have rows, (m, n), estimated: columns are features by their names in archives.

    The CPU architecture is a system feature, one for all rows; the estimator wants it among the metrics as well.
    """
    system = [index for index, feature in enumerate(features) if feature == ARCHITECTURE]
    request = {
        "metrics": list(features),
        "values": rows.tolist(),
        "output_type": output_type,
        "system_features": [ARCHITECTURE for _ in system],
        "system_values": [str(rows[0, index]) for index in system],
        "model_name": "",
        "filter": "",
    }
    return json.dumps(request).encode()


@contextmanager
def estimator_of(archives: Mapping[str, bytes]) -> Iterator[Estimator]:
    """Run an estimator whose URLs serve these archives, output type to content, over HTTP on the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = archives.get(self.path.strip("/"))
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: Any) -> None:
            """Say nothing: these requests are our own."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, TemporaryDirectory() as folder:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            base = f"http://127.0.0.1:{server.server_port}"
            yield Estimator({output_type: f"{base}/{output_type}" for output_type in archives}, Path(folder))
        finally:
            server.shutdown()


@contextmanager
def _told_of(origin: str) -> Iterator[None]:
    """Say in errors where what was unpacked comes from."""
    try:
        yield
    except NotLoadable as cause:
        raise NotLoadable(f"{origin}: {cause}") from cause


def _metadata(path: Path, content: dict[str, Any]) -> Metadata:
    if content["output_type"] not in OUTPUT_TYPES:
        raise NotLoadable(f"{path}: output_type {content['output_type']!r} is not {' or '.join(OUTPUT_TYPES)}: {_ENDS}")
    return Metadata(
        model_name=names(path, "model_name", [content["model_name"]], _ENDS)[0],
        output_type=content["output_type"],
        model_class=content["model_class"],
        model_file=names(path, "model_file", [content["model_file"]], _SILENT)[0],
        features=names(path, "features", content["features"], _SILENT),
        fe_files=names(path, "fe_files", content.get("fe_files", []), _SILENT),
    )


def _get(url: str) -> bytes:
    import requests

    try:
        with requests.get(url, timeout=_TIMEOUT_SECONDS, stream=True) as response:
            if response.status_code != 200:
                raise NotLoadable(f"{url} answers {response.status_code}; the estimator would answer no powers")
            content = bytearray()
            for piece in response.iter_content(_PIECE):
                content += piece
                if len(content) > MOST_BYTES:
                    raise NotLoadable(f"{url} has more than {MOST_BYTES} bytes; no model needs that")
            return bytes(content)
    except requests.RequestException as cause:
        raise NotLoadable(f"cannot get {url}: {brief(cause)}; {_ENDS}") from cause


def _read_request(request: bytes) -> dict[str, Any]:
    asked = read_request(request, _REQUEST_KEYS, _OPTIONAL_REQUEST_KEYS)
    if asked["output_type"] not in OUTPUT_TYPES:
        raise NotLoadable(f"a request asks for {asked['output_type']!r}, not {' or '.join(OUTPUT_TYPES)}; {REFUSED}")
    if not asked["values"]:
        raise NotLoadable("a request without rows ends the estimator")
    return asked


def _data_frame(asked: dict[str, Any]) -> pd.DataFrame:
    frame = data_frame(asked)
    try:
        for index, feature in enumerate(asked["system_features"]):
            frame[feature] = [asked["system_values"][index]] * len(frame)
    except Exception as cause:
        raise NotLoadable(f"a request's system features are none: {brief(cause)}; {REFUSED}") from cause
    return frame


def _counted(rows: npt.NDArray[Any]) -> str:
    return f"{len(rows)} row{'s' if len(rows) != 1 else ''}"


def _unused_metric(_true: Any, _predicted: Any) -> float:
    """What the estimator gives Keras by this name counts in training only."""
    return 0.0
