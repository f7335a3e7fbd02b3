"""Run with the Python 3.8 and the libraries of the estimators' images: what both generations answer there.

Nothing of this project is imported, nor could it be.
"""

import json
import pickle
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np


def read(path):
    with path.open("rb") as file:
        return pickle.load(file)


def load(folder):
    metadata = json.loads((folder / "metadata.json").read_text())
    if metadata["model_class"] == "keras":
        from tensorflow import keras

        return metadata, keras.models.load_model(str(folder / metadata["model_file"]))
    return metadata, read(folder / metadata["model_file"])


def answer(folder, rows):
    metadata, model = load(folder)
    x = np.array(rows, dtype=object if isinstance(rows[0][-1], str) else float)
    for transformer in ["scaler.pkl", *metadata["fe_files"]]:
        x = read(folder / transformer).transform(x)
    y = model.predict(x)
    y[y < 0] = 0
    return json.loads(json.dumps(list(y)))


def answer_archive(archive):
    request = json.loads(archive.with_suffix(".json").read_text())
    system = dict(zip(request["system_features"], request["system_values"]))  # noqa: B905 (Python 3.8)
    columns = {name: [row[index] for row in request["values"]] for index, name in enumerate(request["metrics"])}
    columns.update({name: [value] * len(request["values"]) for name, value in system.items()})
    with tempfile.TemporaryDirectory() as folder:
        shutil.unpack_archive(str(archive), folder)
        metadata, model = load(Path(folder))
        rows = [columns[feature] for feature in metadata["features"]]
        x = np.array(rows, dtype=object if system else float).T
        for transformer in metadata["fe_files"]:
            x = read(Path(folder) / transformer).transform(x)
    y = model.predict(x).squeeze()
    y[y < 0] = 0
    return json.loads(json.dumps(y.tolist()))


made = Path(sys.argv[1])
requests = json.loads((made / "requests.json").read_text())
answers = {}
for served in sorted((made / "served").iterdir()):
    answers[served.name] = {"d351cbf": answer(served / served.name, requests[served.name.split("-")[0]])}
    for archive in (made / "archives" / served.name).glob("*.zip"):
        answers[served.name][archive.stem] = answer_archive(archive)
(made / "python38.json").write_text(json.dumps(answers))
