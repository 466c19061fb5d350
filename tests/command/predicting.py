"""Tiny runs to predict with, and calls of `ptft predict` within this process."""

import copy
import csv
import json
import random
from pathlib import Path

import numpy as np
from PIL import Image

from ptft.cli import _Command
from ptft.command import predict as command
from ptft.config.hydra_app import launch
from ptft.config.invocation import Invocation

QUICK = ("engine.max=30st", "engine.precision=fp32", "engine.batch_size=32", "optimizer.lr=1e-2")
GOOD, BAD = ("good", "great", "lovely", "fine"), ("bad", "poor", "sad", "dull")
WORDS = ["the", "film", "was", "a", "story", "with", "actors", "in", "paris", "about", "love", "and", "rain"]


def call(verb, *arguments):
    """Run a command in this process; what it returns."""
    kept = []
    launch(verb, arguments, lambda config, invocation: kept.append(_Command(verb)(config, invocation)))
    return kept[0]


def config_of(run):
    """Return the config of a prediction with a run, for `predict`: what the door makes of it."""
    kept = []
    launch("predict", [f"run={run}", "input=a text"], lambda config, invocation: kept.append(config))
    return kept[0]


def predict(config, **settings):
    """Predict as the command does once the door is passed; settings of groups are written data__text."""
    config = copy.deepcopy(config)
    for key, value in settings.items():
        *groups, last = key.split("__")
        node = config
        for group in groups:
            node = node[group]
        node[last] = value
    words = tuple(f"{key.replace('__', '.')}={value}" for key, value in settings.items())
    path = Path("outputs") / config["run"]
    argv = ("ptft", "predict", f"run={config['run']}", *words)
    command.run(config, Invocation(verb="predict", argv=argv, overrides=words, run=path))


def review(number):
    """Return a text and whether it is good; each number has its own."""
    draw = random.Random(number)
    good = draw.random() < 0.5
    words = [draw.choice(WORDS) for _ in range(draw.randint(2, 12))]
    words.insert(draw.randrange(len(words)), draw.choice(GOOD if good else BAD))
    return " ".join([*words, str(number)]), "good" if good else "bad"


def write_reviews(path, numbers):
    """Write reviews as a csv with the columns number, review and label; returns the path."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "review", "label"])
        writer.writerows((f"n{number}", *review(number)) for number in numbers)
    return path


def write_pictures(folder, images):
    """Write (N, 1, H, W) uint8 as PNGs called by their number."""
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(np.asarray(image)[0]).save(folder / f"{number:04}.png")
    return folder


def read_lines(path):
    """Return the rows of a json lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_table(path):
    """Return the rows of a csv file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
