"""Small data sets in the formats that ptft reads, made by seed: for tests that need files and not what is in them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, width: int = 40, height: int = 32, mode: str = "RGB") -> Image.Image:
    """A picture of smooth noise: neighbouring pixels are alike, as in photographs."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, channels), dtype=np.uint8)
    return Image.fromarray(coarse.squeeze(), mode).resize((width, height), Image.Resampling.BILINEAR)


def image_folder(root: Path, classes: tuple[str, ...] = ("cat", "dog"), each: int = 12) -> Path:
    """Class folders of JPEGs of several sizes."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            seed = label * each + number
            picture(seed, 40 + seed % 7, 32 + seed % 5).save(root / name / f"{name}{number}.jpg")
    return root


def emoji(root: Path, categories: tuple[str, ...] = ("Activities", "Flags", "Food & Drink"), each: int = 8) -> Path:
    """A folder like that of the npm package emoji-datasource-google; every third emoji has two skin variants."""
    folder = root / "img" / "google" / "64"
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for label, category in enumerate(categories):
        for number in range(each):
            code = f"1f{label:02x}{number:02x}"
            variants = {"1F3FB": f"{code}-1f3fb", "1F3FF": f"{code}-1f3ff"} if number % 3 == 0 else {}
            for offset, name in enumerate([code, *variants.values()]):
                picture(100 * label + 10 * number + offset, 64, 64, "RGBA").save(folder / f"{name}.png")
            entries.append(
                {
                    "name": f"EMOJI {label} {number}",
                    "unified": code.upper(),
                    "short_name": f"emoji_{label}_{number}",
                    "image": f"{code}.png",
                    "category": category,
                    "subcategory": f"sub{number % 2}",
                    "has_img_google": True,
                    **(
                        {
                            "skin_variations": {
                                tone: {"unified": name.upper(), "image": f"{name}.png", "has_img_google": True}
                                for tone, name in variants.items()
                            }
                        }
                        if variants
                        else {}
                    ),
                }
            )
    (root / "emoji.json").write_text(json.dumps(entries))
    return root


def cifar(root: Path, classes: int, each: int = 8) -> Path:
    """The binary files of CIFAR-10 (one label byte) or CIFAR-100 (two), with few images in each."""
    root.mkdir(parents=True, exist_ok=True)
    files = (
        [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]
        if classes == 10
        else ["train.bin", "test.bin"]
    )
    generator = np.random.default_rng(classes)
    count = max(each, classes) if classes == 10 else 4 * classes
    for name in files:
        labels = np.arange(count) % classes
        rows = []
        for label in labels.tolist():
            head = [label] if classes == 10 else [label // 5, label]
            rows.append(np.concatenate([np.array(head, np.uint8), generator.integers(0, 256, 3072, dtype=np.uint8)]))
        (root / name).write_bytes(np.stack(rows).tobytes())
    names = [f"class {n}" for n in range(classes)]
    if classes == 10:
        (root / "batches.meta.txt").write_text("\n".join(names) + "\n")
    else:
        (root / "fine_label_names.txt").write_text("\n".join(names) + "\n")
        (root / "coarse_label_names.txt").write_text("\n".join(f"coarse {n}" for n in range(20)) + "\n")
    return root
