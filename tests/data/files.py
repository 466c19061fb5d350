"""Small folders of pictures, made as a person would have them."""

from pathlib import Path

import numpy as np
from PIL import Image

SMALL = ("data=vision/image_folder", "data.path=photos", "data.size=8", "model=vision/mlp", "task=classification",
         "engine.batch_size=8", "engine.max=2st", "data.num_workers=2")  # fmt: skip
"""A training of two steps on `photos`, for the command line."""


def picture(path, seed=0, size=(12, 10), **settings):
    """Write a picture of noise, (width, height), and return its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **settings)
    return path


def pictures(root, names, **settings):
    """Write a picture of its own under each name, and return the root."""
    for seed, name in enumerate(names):
        picture(Path(root, name), seed, **settings)
    return Path(root)


def classes(root, count=10, names=("cats", "dogs"), suffix=".png"):
    """Write class folders with `count` pictures each."""
    return pictures(root, [f"{name}/{number:03}{suffix}" for name in names for number in range(count)])
