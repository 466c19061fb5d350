"""Batches from the token store, and the memory that making one takes; `python -m benchmarks.bench_tokens`.

The rival does what most scripts do: takes 32 texts of about 128 tokens, tokenises them with the same tokenizer (in
Rust) and pads them. Both in one thread, in turns, medians of the rounds. Memory is what no file stands behind, at its
highest while a store is made, in a process of its own for each size of text.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
os.environ.setdefault("RAYON_NUM_THREADS", "1")  # the threads of the tokenizer

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.contest import Row

BATCH_SIZE, LENGTH, ROUNDS, BATCHES = 32, 128, 15, 20
AIM = 100.0
SIZES_MB = (1, 32)
LIMIT_MB = 30.0
SECTION = "(g) batches of 32 blocks of 128 tokens; CPU time"


def words(count: int = 4000) -> list[str]:
    """Return made-up words, of two to four syllables."""
    generator = np.random.default_rng(0)
    syllables = [first + vowel for first in "bcdfghklmnprstvw" for vowel in "aeiou"]
    return ["".join(generator.choice(syllables, generator.integers(2, 5))) for _ in range(count)]


def texts(number: int, vocabulary: list[str]) -> Iterator[str]:
    """Yield so many texts of 120 words, the frequent ones much more often than the rare ones."""
    generator = np.random.default_rng(1)
    for _ in range(number):
        chosen = (len(vocabulary) * generator.random(120) ** 3).astype(int)
        yield " ".join(vocabulary[place] for place in chosen) + ".\n"


def measure() -> tuple[float, float]:
    """Return the median CPU seconds of a batch: ours, theirs."""
    import torch

    from ptft.data.data_module import BatchPlan
    from ptft.data.text.corpus import Corpus

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        lines = list(texts(3000, words()))
        Path(folder, "texts.txt").write_text("".join(lines), encoding="utf-8")
        path, cache = str(Path(folder, "texts.txt")), str(Path(folder, "cache"))
        data = Corpus((), path=path, documents="line", max_length=LENGTH, cache_folder=cache)
        data.setup()
        ours: Iterator[object] = data.train_loader(BatchPlan(batch_size=BATCH_SIZE))
        theirs = on_the_fly(data.spec.files["tokenizer.json"], lines)
        times = [(cpu_seconds(ours), cpu_seconds(theirs)) for _ in range(ROUNDS + 1)]
    mine, other = zip(*times[1:], strict=True)  # the first round warms up
    return statistics.median(mine), statistics.median(other)


def on_the_fly(tokenizer_json: str, lines: list[str]) -> Iterator[object]:
    """Yield batches of texts tokenised and padded when they are asked for."""
    import torch
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH)
    for step in itertools.count():
        chosen = [lines[(step * BATCH_SIZE + place) % len(lines)] for place in range(BATCH_SIZE)]
        encodings = tokenizer.encode_batch(chosen)
        yield {
            "input_ids": torch.tensor([encoding.ids for encoding in encodings]),
            "attention_mask": torch.tensor([encoding.attention_mask for encoding in encodings]),
            "token_type_ids": torch.tensor([encoding.type_ids for encoding in encodings]),
        }


def cpu_seconds(batches: Iterator[object]) -> float:
    """CPU time of one batch, over BATCHES of them."""
    begin = time.process_time()
    for _ in itertools.islice(batches, BATCHES):
        pass
    return (time.process_time() - begin) / BATCHES


# ---- Memory ---------------------------------------------------------------------------------------------------------


def anonymous_mb() -> float:
    """Memory of this process that no file stands behind, in MB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024


def build(size_mb: int) -> dict[str, float]:
    """Make the store of so many megabytes of text in this process; return the memory it took and its speed."""
    from ptft.data.text import token_store
    from ptft.data.text.tokenizer_training import TokenizerSettings, train_tokenizer
    from ptft.data.text.words import WordStarts

    vocabulary = words()
    tokenizer = train_tokenizer(TokenizerSettings(), texts(700, vocabulary))
    tokens = token_store.Tokens(tokenizer, WordStarts(), "masked", tokenizer.special_tokens["sep"])
    some = [(number % 3 if number < 9 else 0, text, True) for number, text in enumerate(texts(1250, vocabulary))]
    size = sum(len(text) for _, text, _ in some)
    seen = []

    def source() -> Iterator[tuple[int, str, bool]]:
        for _ in range(max(1, size_mb * 1_000_000 // size)):
            seen.append(anonymous_mb())
            yield from some

    with tempfile.TemporaryDirectory() as folder:
        begin = time.process_time()
        token_store.build_store(source, size_mb * 1_000_000, tokens, Path(folder))
        seconds = time.process_time() - begin
    return {"memory": max(seen), "mb_per_second": size_mb / seconds}


def in_a_process(size_mb: int) -> dict[str, float]:
    """Run `build` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.bench_tokens", str(size_mb)]
    root = Path(__file__).resolve().parents[1]
    result: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=root).stdout)
    return result


def rows() -> list[Row]:
    """Return the lines of the common table."""
    ours, theirs = measure()
    note = f"{theirs / ours:.0f} times faster (at least {AIM:g} wanted)"
    found = [
        Row(SECTION, "tokenised and padded on the fly", theirs * 1e3, "ms", 1.0),
        Row(SECTION, "ptft, from the token store", ours * 1e3, "ms", ours / theirs, note),
    ]
    if Path("/proc/self/status").exists():
        for size in SIZES_MB:
            built = in_a_process(size)
            note = f"{built['memory']:.0f} MB private memory (flat within {LIMIT_MB:g} MB wanted)"
            found.append(Row(SECTION, f"ptft, tokenising {size} MB of text", built["mb_per_second"], "MB/s", note=note))
    return found


def main() -> None:
    if len(sys.argv) == 2:
        print(json.dumps(build(int(sys.argv[1]))))
        return
    from benchmarks.contest import show

    show(rows())


if __name__ == "__main__":
    main()
