"""Problems of a command line: collected, then told all at once."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ptft.errors import ConfigError
from ptft.runtime.text import printable

COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        key: The config key, override, group or file it concerns.
        message: What was expected, what was found, what to do.
        origin: `command line`, or the file (and line) the value comes from; empty when neither is known.
    """

    key: str
    message: str
    origin: str = ""


def shown(value: Any) -> str:
    """Return a value as a config would spell it, shortened."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = value if isinstance(value, str) else repr(value)
    return f"`{text if len(text) <= 80 else text[:77] + '...'}`"


def candidates(name: Any, names: Iterable[str], most: int = 3) -> list[str]:
    """Return the names most like a given one, best first; the last word of a path counts too."""
    known = list(dict.fromkeys(names))
    text = str(name).lower()
    found = difflib.get_close_matches(text, known, n=most, cutoff=0.6)
    tails = [other for other in known if other.rpartition("/")[2] == text.rpartition("/")[2]]
    tails += [
        other
        for other in known
        if difflib.get_close_matches(text.rpartition("/")[2], [other.rpartition("/")[2]], n=1, cutoff=0.75)
    ]
    return list(dict.fromkeys([*tails[:most], *found]))[:most]


def nearest(name: Any, names: Iterable[str]) -> str:
    """Return `; did you mean ...?` for a misspelt name, or an empty text."""
    found = candidates(name, names)
    return f"; did you mean {' or '.join(f'`{other}`' for other in found)}?" if found else ""


class ProblemsError(ConfigError):
    """All that is wrong with a command line, in one message."""

    def __init__(self, message: str, problems: tuple[Problem, ...]) -> None:
        super().__init__(message)
        self.problems = problems


def as_error(verb: str, found: Iterable[Problem]) -> ProblemsError:
    """Return one error that tells all problems, each once, in the order found."""
    problems = tuple(dict.fromkeys(found))
    lines = []
    for problem in problems:
        origin = f"  ({problem.origin})" if problem.origin else ""
        lines.append(f"  {problem.key}{origin}")
        lines += [f"      {line}" for line in problem.message.splitlines()]
    what = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    head = f"ptft {verb}: {what} in the configuration; nothing was started"
    return ProblemsError(printable("\n".join([head, *lines])), problems)
