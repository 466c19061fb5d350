"""What the documents of the project hold: code blocks, files shown in full, and commands."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FILE = re.compile(r"^`([\w./-]+\.(?:py|yaml))`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^ *(?:\$ )?(ptft .*?)(?: +#.*)?$")


def files_shown(document):
    """Return the files that a document shows in full, by name: a line with the name, then a code block."""
    return dict(_FILE.findall((ROOT / document).read_text()))


def commands_shown(document):
    """Return the words of each `ptft ...` line of a document's console blocks and indented lines, in order."""
    found, kind = [], None
    for line in (ROOT / document).read_text().splitlines():
        if line.startswith("```"):
            kind = line[3:] if kind is None else None
        elif kind == "console" or (kind is None and line.startswith("    ")) or line.startswith("$ "):
            found += [shlex.split(command) for command in _COMMAND.findall(line)]
    return found


def write_files(files, folder, rename):
    """Write files below a folder, under names changed by `rename`, packages complete with their `__init__.py`."""
    for name, text in files.items():
        path = folder / rename(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rename(text))
        for package in path.parents:
            if path.suffix == ".py" and package != folder and package.is_relative_to(folder):
                (package / "__init__.py").touch()
