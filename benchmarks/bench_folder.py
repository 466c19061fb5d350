"""CPU time to make a training batch of 64 from a folder of 2,000 JPEGs of 500x375; `python -m benchmarks.bench_folder`.

Random resized crop to 224, flip, normalise. ptft reads the files, or its cache of decoded pictures; the rival is what
most scripts do: torchvision's ImageFolder and PIL transforms behind a DataLoader. One thread each, in turns, medians of
the rounds. Then a process of its own tells how long the first batch takes from its start, and which threads are left.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks.contest import Row
from ptft.augmentation.vision.flip import RandomFlip
from ptft.augmentation.vision.random_resized_crop import RandomResizedCrop
from ptft.data.data_module import BatchPlan
from ptft.data.vision.image_folder import ImageFolder

COUNT, HEIGHT, WIDTH, QUALITY = 2_000, 375, 500, 87
BATCH_SIZE, SIZE, CACHE = 64, 224, 256
ROUNDS, BATCHES = 9, 4
LEAST = {"uncached": (1.4, 1.7), "cached": (3.5, 10.0)}
"""Times faster than the rival: wanted, and aimed at."""
FIRST_SECONDS = 3.0


def make_pictures(folder: Path, count: int = COUNT) -> None:
    """Write pictures of two classes: smooth colours, some shapes, a little grain; 40 KB each, as photographs have."""
    import numpy as np
    from PIL import Image, ImageDraw

    generator = np.random.default_rng(0)
    for name in ("first", "second"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        picture = coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        draw = ImageDraw.Draw(picture)
        for _ in range(8):
            x, y, wide, high = generator.integers(0, 300, 4).tolist()
            shape = draw.ellipse if generator.random() < 0.5 else draw.rectangle
            shape((x, y, x + wide, y + high), fill=tuple(generator.integers(0, 256, 3).tolist()))
        pixels = np.asarray(picture, dtype=np.float32) + generator.normal(0, 6, (HEIGHT, WIDTH, 3))
        path = folder / ("first", "second")[number % 2] / f"{number}.jpg"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=QUALITY)


def ours(folder: Path, cache: int | None, cache_folder: Path, num_workers: int | str = 0) -> Iterator[object]:
    """Return ptft's training batches."""
    data = ImageFolder(
        [RandomResizedCrop(), RandomFlip()],
        path=str(folder),
        size=SIZE,
        cache=cache,
        cache_folder=str(cache_folder),
        num_workers=num_workers,  # type: ignore[arg-type]
    )
    data.setup()
    return data.train_loader(BatchPlan(batch_size=BATCH_SIZE))


def theirs(folder: Path) -> Iterator[object]:
    """Return the batches of ImageFolder, PIL transforms and a DataLoader."""
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder as Folder

    steps = [
        transforms.RandomResizedCrop(SIZE),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
    loader = DataLoader(Folder(str(folder), transforms.Compose(steps)), BATCH_SIZE, shuffle=True, drop_last=True)
    return itertools.chain.from_iterable(itertools.repeat(loader))


def cpu_seconds(batches: Iterator[object], count: int = BATCHES) -> float:
    """CPU time of one batch, over several of them."""
    begin = time.process_time()
    for _ in itertools.islice(batches, count):
        pass
    return (time.process_time() - begin) / count


def contest(folder: Path, cache_folder: Path) -> list[Row]:
    """Let the three make batches in turns; the ratio is the median over the rounds of that round's ratio."""
    torch.set_num_threads(1)
    entrants: dict[str, Callable[[], Iterator[object]]] = {
        "torchvision ImageFolder, PIL, DataLoader": lambda: theirs(folder),
        "ptft, uncached": lambda: ours(folder, None, cache_folder),
        f"ptft, cache={CACHE}": lambda: ours(folder, CACHE, cache_folder),
    }
    batches = {name: make() for name, make in entrants.items()}
    times: dict[str, list[float]] = {name: [] for name in entrants}
    for turn in range(ROUNDS + 1):
        for name, stream in batches.items():
            spent = cpu_seconds(stream)
            if turn:  # the first round warms up
                times[name].append(spent)
    rival, rows = next(iter(times.values())), []
    for name, own, wanted in zip(times, times.values(), (None, *LEAST.values()), strict=True):
        ratio = statistics.median(other / mine for mine, other in zip(own, rival, strict=True))
        spread = f"{min(own) * 1e3:.0f} to {max(own) * 1e3:.0f} ms"
        note = f"{ratio:.2f} times faster (at least {wanted[0]:g} wanted, {wanted[1]:g} aimed at); " if wanted else ""
        section = f"(f) making a batch: {BATCH_SIZE} JPEGs of {WIDTH}x{HEIGHT} to {SIZE}; CPU time"
        rows.append(Row(section, name, statistics.median(own) * 1e3, "ms", 1 / ratio, note + spread))
    return rows


def first_batch(folder: Path, cache_folder: Path) -> Row:
    """Return the seconds from the start of a process to its first batch, and what is left of its threads."""
    begin = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.bench_folder", "--first", str(folder), str(cache_folder)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    left = f"threads left after the run: {', '.join(found['threads']) or 'none'}"
    note = (
        f"at most {FIRST_SECONDS:g} s wanted; importing {found['begin'] - begin:.2f} s, "
        f"setting up {found['setup']:.2f} s, batch {found['batch']:.2f} s; {found['cpu']:.2f} s of CPU time; {left}"
    )
    section = "(f) the first batch, from the start of a process"
    return Row(section, "ptft, uncached", found["clock"] - begin, "s", note=note)


def tell_first(folder: Path, cache_folder: Path) -> None:
    """What that process does: make a batch and print when."""
    begin = time.monotonic()
    batches = ours(folder, None, cache_folder, num_workers="auto")
    ready = time.monotonic()
    next(batches)
    clock = time.monotonic()
    batches.close()  # type: ignore[attr-defined]
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    found = {"clock": clock, "setup": ready - begin, "batch": clock - ready, "threads": threads}
    print(json.dumps({**found, "begin": begin, "cpu": time.process_time()}))


def measure() -> list[Row]:
    """Return the rows of this benchmark, measured on pictures made for it."""
    with tempfile.TemporaryDirectory() as name:
        folder, cache_folder = Path(name, "pictures"), Path(name, "cache")
        make_pictures(folder)
        return [*contest(folder, cache_folder), first_batch(folder, cache_folder)]


def main() -> None:
    if sys.argv[1:2] == ["--first"]:
        tell_first(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    from benchmarks.contest import show

    show(measure())


if __name__ == "__main__":
    main()
