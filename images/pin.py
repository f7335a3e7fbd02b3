"""Pin images by digest: from the metadata that `docker buildx bake` writes, to where images are named."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "pipelines" / "kepler_workflow" / "images.json"


def pin(metadata: Path, images: Path, manifests: Path) -> None:
    """Name each image of `images` by what was built and pushed, there and wherever `manifests` name it."""
    built = json.loads(metadata.read_text())
    before = json.loads(images.read_text())
    after = {name: _reference(built, name) for name in before}
    images.write_text(json.dumps(after, indent=2) + "\n")
    for file in manifests.rglob("*.yaml"):
        text = pinned = file.read_text()
        for name, reference in before.items():
            pinned = pinned.replace(f"image: {reference}\n", f"image: {after[name]}\n")
        if pinned != text:
            file.write_text(pinned)


def _reference(built: dict[str, dict[str, str]], name: str) -> str:
    if name not in built or "containerimage.digest" not in built[name]:
        sys.exit(f"{name} was not pushed; build all images with --push --metadata-file")
    return f"{built[name]['image.name'].split(',')[0]}@{built[name]['containerimage.digest']}"


if __name__ == "__main__":
    pin(Path(sys.argv[1]), IMAGES, ROOT / "manifests")
