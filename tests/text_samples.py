"""Small texts for the tests: made of few words, the same every time, English and Chinese."""

import json

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


def opinion(number):
    """Return a short review and its mood, `good` or `bad`; each number has a text of its own."""
    generator = np.random.default_rng(number)
    good = bool(generator.random() < 0.5)
    words = ["fine", "lovely", "superb"] if good else ["poor", "awful", "broken"]
    text = (
        f"The {generator.choice(NOUNS)} {number} was {generator.choice(words)}, {' '.join(generator.choice(NOUNS, 4))}."
    )
    return text, "good" if good else "bad"


def write_opinions(path, count=120):
    """Write a csv of reviews, with the columns text, label, stars, topics and shop, and return its path."""
    lines = ["text,label,stars,topics,shop\n"]
    for number in range(count):
        text, mood = opinion(number)
        stars = (5 if mood == "good" else 2) - number % 2
        topics = "|".join(topic for topic in ("price", "look") if number % (2 + len(topic) % 2) == 0)
        lines.append(f'"{text}",{mood},{stars},{topics},shop{number % 5}\n')
    path.write_text("".join(lines), encoding="utf-8")
    return path


def squad_file(path, *, articles=8, paragraphs=2, unanswerable=True, seed=0, first_id=0):
    """Write a file in SQuAD's format, three questions a paragraph of 40 words, and return its path."""
    generator, number, data = np.random.default_rng(seed), first_id, []
    for article in range(articles):
        told = []
        for _ in range(paragraphs):
            words = generator.choice(NOUNS + VERBS, 40).tolist()
            asked = []
            for question in range(3):
                number, place = number + 1, int(generator.integers(38))
                start = len(" ".join(words[:place])) + (place > 0)
                answer = {"text": " ".join(words[place : place + 2]), "answer_start": start}
                none = unanswerable and question == 2
                own = {"is_impossible": none, "answers": [] if none else [answer]}
                asked.append({"id": f"q{number}", "question": f"What of {words[place]} {number}?", **own})
            told.append({"context": " ".join(words), "qas": asked})
        data.append({"title": f"Article {article}", "paragraphs": told})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": "v2.0", "data": data}), encoding="utf-8")
    return path
