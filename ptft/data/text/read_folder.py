"""Texts in files, one file an example: class folders, train/val/test folders with class folders, or no labels.

mails/ham/1.txt  mails/spam/7.txt                      the folder is the class, and what lies deeper belongs to it
mails/train/ham/1.txt  mails/test/ham/2.txt            val and test, where missing, are taken from train
notes/1.txt  notes/2024/7.txt                          without labels: data.target=tokens

Hidden files and folders are passed over; a link that leads out of the folder is an error.
"""

import fnmatch
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

from ptft.data.listing import SPLITS, composed, listed, quoted
from ptft.data.listing_folder import is_inside
from ptft.data.text.bad_rows import BadRows
from ptft.data.text.read_columns import TEXT_CHARACTERS
from ptft.data.text.rows import TextRows
from ptft.errors import DataError
from ptft.runtime.threads import map_in_threads

_THREADS = 4  # reading waits for the disk
_BYTES = 4 * TEXT_CHARACTERS
"""Bytes of a file from which on it holds more characters than a text may."""


def list_texts(root: Path, pattern: str) -> list[str]:
    """Return the names of the files that match, relative to a resolved folder, in the order of their code points.

    Raises:
        DataError: There are none, or something is a link that leads out of the folder, or to a folder.
    """
    names, others = [], set()
    for base, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in [*folders, *files]:
            path = Path(base, name)
            if path.is_symlink() and (name in folders or not is_inside(root, os.path.realpath(path))):
                what = "is a link to a folder" if name in folders else "is a link that leads out of data.path"
                shown = quoted(path.relative_to(root).as_posix())
                raise DataError(f"{shown} in {root} {what}; nothing outside the folder is read. Copy what it names")
        for name in files:
            if fnmatch.fnmatchcase(name, pattern) and not name.startswith("."):
                names.append(Path(base, name).relative_to(root).as_posix())
            else:
                others.add(PurePosixPath(name).suffix)
    if not names:
        found = f"; it holds files ending in {listed(sorted(others - {''}))}" if others - {""} else ""
        raise DataError(f"{root} holds no file called {pattern}{found}. data.files says which are taken: data.files=*")
    return sorted(names, key=lambda name: (composed(name), name))


def read_folder(
    root: Path,
    pattern: str,
    bad: BadRows,
    *,
    labelled: bool = True,
    decode: Callable[[bytes], str] = bytes.decode,
) -> TextRows:
    """Read the texts of a folder; further columns: `folder`, where a file lies.

    Args:
        root: The folder, resolved.
        pattern: Which files: `*.txt`.
        bad: Takes the files that cannot be used.
        labelled: Whether each file must lie in a class folder; else folders are classes only if all do.
        decode: Makes the text of a file from its bytes; may raise UnicodeDecodeError.

    Raises:
        DataError: There are no files, one has no class or cannot be used, or a class has no file in train.
    """
    names = list_texts(root, pattern)
    depth = _depth(root, names)
    loose = [name for name in names if name.count("/") <= depth]
    if loose and labelled:
        raise DataError(
            f"{quoted(loose[0])} in {root} lies in no class folder ({len(loose):,} such files). Put each file into a "
            "folder with the name of its class, or train without labels: data.target=tokens"
        )
    kept, texts = [], []
    for name, (text, reason) in zip(names, map_in_threads(partial(_text, root, decode), names, _THREADS), strict=True):
        if reason:
            bad.note(name, 0, reason)
        else:
            kept.append(name)
            texts.append(text)
    return TextRows(
        texts,
        labels=None if loose else [name.split("/")[depth] for name in kept],
        splits=[SPLITS[name.split("/")[0].casefold()] for name in kept] if depth else None,
        columns={"folder": [name.rpartition("/")[0] or "." for name in kept]},
        places=[(name, 0) for name in kept],
    )


def _depth(root: Path, names: list[str]) -> int:
    """Return at which level the classes lie: 1 where the folders of the root are splits, else 0.

    They are splits when one is `train` and all are called so; a folder `train` beside others is a class.
    """
    if any("/" not in name for name in names):
        return 0
    folders = sorted({name.split("/")[0] for name in names})
    parts = [SPLITS.get(folder.casefold()) for folder in folders]
    if "train" not in parts or None in parts:
        if any(parts) and None not in parts:
            raise DataError(
                f"{root} holds {listed(folders)} but no `train`; add the folder of the training texts, or name one of "
                f"these as data.path={root.name}/{folders[0]}"
            )
        return 0
    if len(set(parts)) < len(parts):
        raise DataError(f"{root} holds {listed(folders)}, two of which mean the same split; keep one")
    return 1


def _text(root: Path, decode: Callable[[bytes], str], name: str) -> tuple[str, str]:
    """Return a file's text and why it cannot be used; one of the two is empty."""
    try:
        with (root / name).open("rb") as file:
            data = file.read(_BYTES + 1)
        if len(data) > _BYTES:
            return "", f"more than {_BYTES:,} bytes; a file is one example"
        text = decode(data)
    except OSError as error:
        return "", f"it cannot be read: {error.strerror or error}"
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        return "", f"byte {byte:#04x} in line {line} is not of the encoding; name another, as data.encoding=latin-1"
    if len(text) > TEXT_CHARACTERS:
        return "", f"a text of {len(text):,} characters; a file is one example, and {TEXT_CHARACTERS:,} are the most"
    return text, ""
