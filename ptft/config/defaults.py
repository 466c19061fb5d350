"""What a verb starts from when the data are not the pictures that its own defaults are made for.

`ptft finetune data=text/table data.path=reviews.csv` then needs no more: a network that reads text takes the place of
the convolutional one. Whatever is typed wins, and a recipe or a resumed run brings its own.
"""

from collections.abc import Sequence

_TAGS = ("task=text/token_classification", "model=text/lstm")
_ANSWERS = ("task=text/question_answering", "model=text/bert_mini")
DEFAULTS: dict[str, dict[str, tuple[str, ...]]] = {
    "pretrain": {"text/": ("task=text/masked", "model=text/bert_mini", "augmentation=none")},
    "finetune": {
        "text/conll": _TAGS,
        "text/people_daily": _TAGS,
        "text/squad": _ANSWERS,
        "text/qa_tiny": _ANSWERS,
        "text/": ("model=text/cnn",),
    },
}
"""By verb and by how the option of `data=` begins, the longest first: options that stand in for the verb's own."""
_WHOLE = ("experiment", "resume", "run")
"""What brings options of its own."""


def defaults_for(verb: str, overrides: Sequence[str]) -> list[str]:
    """Return the overrides that stand in for a verb's defaults, given those that were typed."""
    typed = dict(text.lstrip("+").partition("=")[::2] for text in overrides)
    if any(key in typed for key in _WHOLE):
        return []
    options = typed.get("data", "").split(",")  # several: a sweep
    for beginning, found in DEFAULTS.get(verb, {}).items():
        if all(option.startswith(beginning) for option in options):
            return [text for text in found if text.partition("=")[0] not in typed]
    return []
