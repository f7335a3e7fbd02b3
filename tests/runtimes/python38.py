"""Run with the Python 3.8 and the libraries of the estimators' images: what the folders of d351cbf answer there.

Nothing of this project is imported, nor could it be.
"""

import json
import pickle
import sys
from pathlib import Path

import numpy as np


def read(path):
    with path.open("rb") as file:
        return pickle.load(file)


def answer(folder, rows):
    metadata = json.loads((folder / "metadata.json").read_text())
    if metadata["model_class"] == "keras":
        from tensorflow import keras

        model = keras.models.load_model(str(folder / metadata["model_file"]))
    else:
        model = read(folder / metadata["model_file"])
    x = np.array(rows, dtype=object if isinstance(rows[0][-1], str) else float)
    for transformer in ["scaler.pkl", *metadata["fe_files"]]:
        x = read(folder / transformer).transform(x)
    y = model.predict(x)
    y[y < 0] = 0
    return json.loads(json.dumps(list(y)))


made = Path(sys.argv[1])
requests = json.loads((made / "requests.json").read_text())
answers = {}
for served in sorted((made / "served").iterdir()):
    answers[served.name] = answer(served / served.name, requests[served.name.split("-")[0]])
(made / "python38.json").write_text(json.dumps(answers))
