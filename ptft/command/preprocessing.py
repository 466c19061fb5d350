"""Which pictures weights were trained on, and how the data at hand differ: told, never changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptft.command.published import published_as
from ptft.command.source import read_json
from ptft.data.data_module import DataSpec

CLOSE = 0.02
"""Means and standard deviations in [0, 1] that differ by no more are taken for the same; splits differ by less."""


@dataclass(frozen=True)
class Trained:
    """What a network saw while it was trained.

    Attributes:
        side: Height and width in pixels; None: unknown.
        mean: Per channel, in [0, 1]; empty: unknown.
        std: Per channel, in [0, 1].
    """

    side: tuple[int, int] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def unlike(source: Path, spec: DataSpec) -> str | None:
    """Return one line on how the data differ from what the weights at a path were trained on, or None."""
    if spec.kind != "image" or (trained := trained_on(source)) is None:
        return None
    theirs, ours = [], []
    side = (spec.shape[1], spec.shape[2])
    if trained.side not in (None, side):
        theirs.append(f"{trained.side[0]}x{trained.side[1]} pixels" if trained.side else "")
        ours.append(f"{side[0]}x{side[1]}")
    for word, before, now in (("mean", trained.mean, spec.mean), ("std", trained.std, spec.std)):
        if before and now and not _alike(before, now):
            theirs.append(f"{word} {_row(before)}")
            ours.append(f"{word} {_row(now)}")
    if not theirs:
        return None
    return (
        f"these weights were trained on pictures of {', '.join(theirs)}; the data are {', '.join(ours)}. "
        "They often work all the same, but best on pictures as they know them (see data.size and data.normalisation)"
    )


def trained_on(source: Path) -> Trained | None:
    """Return what is known of the pictures that the weights at a path were trained on.

    A file that torchvision publishes is known by its name, whoever fetched it; a run and a folder of transformers tell
    it in a file.
    """
    if source.is_file() and (entry := published_as(source.name)) is not None:
        transforms = entry.transforms()
        crop = transforms.crop_size[0]
        return Trained((crop, crop), tuple(transforms.mean), tuple(transforms.std))
    folder = source.parent if source.is_file() else source
    for place in (folder, folder / "model"):
        if (place / "preprocessing.json").is_file():
            spec = DataSpec.from_json(read_json(place / "preprocessing.json"))
            return Trained((spec.shape[1], spec.shape[2]), spec.mean, spec.std) if len(spec.shape) == 3 else None
    if (folder / "preprocessor_config.json").is_file():
        return _of_processor(read_json(folder / "preprocessor_config.json"))
    return None


def _of_processor(config: Mapping[str, Any]) -> Trained:
    """Read the settings of an image processor of transformers; what is not as expected counts as unknown."""
    mean, std = (_numbers(config.get(key)) for key in ("image_mean", "image_std"))
    size = config.get("crop_size") if config.get("do_center_crop") else config.get("size")
    if isinstance(size, int):
        size = {"height": size, "width": size}
    known = isinstance(size, Mapping) and all(isinstance(size.get(key), int) for key in ("height", "width"))
    side = (size["height"], size["width"]) if known and isinstance(size, Mapping) else None
    return Trained(side, mean, std) if config.get("do_normalize", True) else Trained(side)


def _numbers(value: Any) -> tuple[float, ...]:
    plain = isinstance(value, list) and all(isinstance(number, int | float) for number in value)
    return tuple(float(number) for number in value) if plain else ()


def _alike(first: Sequence[float], second: Sequence[float]) -> bool:
    """Compare statistics by channel, or their means where the numbers of channels differ."""
    if len(first) != len(second):
        first, second = [sum(first) / len(first)], [sum(second) / len(second)]
    return all(abs(one - other) <= CLOSE for one, other in zip(first, second, strict=True))


def _row(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)
