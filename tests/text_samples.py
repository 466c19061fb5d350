"""Small texts for the tests: made of few words, the same every time, English and Chinese."""

import numpy as np

NOUNS = ["cat", "dog", "king", "river", "garden", "letter", "window", "mountain", "teacher", "storm", "bottle", "song"]
VERBS = ["sees", "takes", "follows", "forgets", "paints", "answers", "carries", "wants", "hears", "remembers"]
SPEECH = ("Well, no!", "Why not?", "It isn't so.", "So be it.")
HAN = ["这本书很好看", "酒店的服务不错", "我们都喜欢北京", "他买了新手机", "价格有点贵", "老师看见了小猫"]


def sentence(generator):
    """Return one English sentence."""
    if generator.random() < 0.15:
        return SPEECH[generator.integers(len(SPEECH))]
    first, second = generator.choice(NOUNS, 2)
    return f"The {first} {generator.choice(VERBS)} a {second}, number {generator.integers(100)}."


def document(number, sentences=12):
    """Return English text, a sentence a line; each number has a text of its own."""
    generator = np.random.default_rng(number)
    return f"Story {number}.\n" + "".join(sentence(generator) + "\n" for _ in range(sentences))


def chinese(number, parts=4):
    """Return a Chinese line; each number has a text of its own, mostly."""
    generator = np.random.default_rng(number)
    return "，".join(generator.choice(HAN, parts)) + f"{number}。"


def write_documents(folder, count=12, sentences=12):
    """Write so many documents as text files and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"story{number:03}.txt").write_text(document(number, sentences), encoding="utf-8")
    return folder
