"""Pictures found in a folder: class folders, train/val/test folders with class folders, or no labels at all.

Nothing outside the folder is read: a link that leads out of it, or back into itself, is an error. Hidden files and
folders, and files that are known not to be pictures, are passed over; files of other kinds are counted and told.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from ptft.data.listing import PICTURES, SPLITS, Listing, is_picture, listed, make_listing, quoted
from ptft.errors import DataError

Labels = bool | Literal["auto"]
"""Whether folders are classes; auto: they are, unless all pictures lie directly in the folder given."""
_QUIET = frozenset(
    f".{suffix}"
    for suffix in "txt md rst csv tsv json jsonl yaml yml xml html pdf py ipynb log ini db".split()  # noqa: SIM905
)
"""Suffixes of files that commonly lie beside pictures and are none."""
_FOREIGN = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"})
"""Folders that archives and disks make by themselves; their pictures are copies or none."""


@dataclass
class Found:
    """What a folder holds.

    Attributes:
        pictures: Names of picture files relative to the folder, with `/`.
        folders: Names of the folders directly in it.
        others: How many files of each other kind were passed over, by suffix.
    """

    pictures: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def checked_root(path: str | None, what: str = "pictures") -> Path:
    """Return the folder `data.path` names, resolved.

    Raises:
        DataError: None is named, or it is no folder.
    """
    if not path:
        raise DataError(f"data.path is not given: name the folder that holds the {what}, as data.path=photos/")
    root = Path(path).expanduser()
    try:
        resolved = root.resolve(strict=True)
    except FileNotFoundError:
        raise DataError(f"data.path={path}: there is no such folder (looked for {root.absolute()})") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"data.path={path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not resolved.is_dir():
        kind = "a csv: give its folder, and data.csv=" + root.name if root.suffix.lower() == ".csv" else "a file"
        raise DataError(f"data.path={path} must be a folder, and this is {kind}")
    return resolved


def list_folder(root: Path, labels: Labels = "auto") -> Listing:
    """List the pictures of a folder.

    With labels each folder directly in it is a class, and what lies deeper belongs to that class; or its folders are
    `train` and, where there are, `val` (valid, validation, dev) and `test`, each with the class folders.

    Raises:
        DataError: There are none, it cannot be told what the folders mean, a class folder holds no picture, or
            something in it leads out of it.
    """
    found = walk(root)
    notes = _notes(found)
    if not found.pictures:
        others = f"; it holds other files: {_kinds(found.others)}" if found.others else ""
        raise DataError(f"{root} holds no pictures{others}. ptft reads {', '.join(sorted(PICTURES))}")
    divided = _divided(root, found, labels)
    depth = 1 if divided else 0
    parts = [SPLITS.get(path.split("/")[0].casefold(), "") for path in found.pictures] if divided else None
    loose = [path for path in found.pictures if path.count("/") <= depth]
    if labels == "auto":
        labels = len(loose) < len(found.pictures) or divided
    if not labels:
        return make_listing(root, found.pictures, None, parts=parts, notes=notes, where=found.pictures.__getitem__)
    if loose:
        raise DataError(
            f"{quoted(loose[0])} in {root} lies in no class folder ({len(loose)} such pictures). Put each picture into "
            "a folder with the name of its class, or name the classes in a csv (data.csv=labels.csv), "
            "or train without labels: data.labels=false"
        )
    _refuse_empty_classes(root, found, divided)
    names = [path.split("/")[depth] for path in found.pictures]
    if len(set(names)) == 1 and (tables := sorted(path.name for path in root.glob("*.csv"))):
        raise DataError(
            f"all {len(names):,} pictures in {root} lie in the folder {quoted(names[0])}, which would be their only "
            f"class. {listed(tables)} lies beside it: if it names the classes, give data.csv={tables[0]}"
        )
    return make_listing(root, found.pictures, names, parts=parts, notes=notes, where=found.pictures.__getitem__)


def _divided(root: Path, found: Found, labels: Labels) -> bool:
    """Tell whether the folders directly in the root are splits rather than classes.

    They are when one is `train` and holds folders rather than pictures. So a class `train` of vehicles stays a class.
    """
    holding = sorted({path.split("/")[0] for path in found.pictures if "/" in path})
    named = {name: SPLITS[name.casefold()] for name in holding if name.casefold() in SPLITS}
    others = [name for name in holding if name not in named]
    for one in named:
        twice = [name for name in named if named[name] == named[one] and name != one]
        if twice and not others:
            raise DataError(f"{root} holds both {listed([one, *twice])}, which mean the same split; keep one")
    if "train" not in named.values():
        if named and not others and labels is not False:
            raise DataError(
                f"{root} holds {listed(holding)} but no `train`; add the folder of the training pictures, "
                f"name one of these as data.path={root.name}/{holding[0]}, or rename them if they are classes"
            )
        return False
    loose = [path for path in found.pictures if path.count("/") == 1 and path.split("/")[0] in named]
    if labels is False:
        return not others and all("/" in path for path in found.pictures)
    if not others and loose:
        raise DataError(
            f"{quoted(loose[0])} in {root} lies in no class folder. Make a folder for each class in each of "
            f"{listed(holding)}, or name the classes in a csv (data.csv=labels.csv), or train without labels: "
            "data.labels=false"
        )
    train = next(name for name, split in named.items() if split == "train")
    if others and any(path.split("/")[0] == train for path in loose):
        return False  # a class that is called train
    if others:
        raise DataError(
            f"{root} holds {quoted(train)} with folders in it, and also {listed(others)}: are these splits or classes? "
            "Beside train only val and test may lie there; move the others out, or give data.path=.../train"
        )
    return True


def _refuse_empty_classes(root: Path, found: Found, divided: bool) -> None:
    """Refuse a class folder without a picture: a class that cannot be learned is a mistake or a left-over.

    An empty class folder of val or test is none: a model may be tested on some of its classes.
    """
    filled = {path.split("/")[0] for path in found.pictures}
    base, names = root, found.folders
    if divided:
        train = next(name for name in found.folders if SPLITS.get(name.casefold()) == "train" and name in filled)
        base, prefix = root / train, f"{train}/"
        filled = {path.split("/")[1] for path in found.pictures if path.startswith(prefix)}
        names = sorted(entry.name for entry in os.scandir(base) if entry.is_dir() and not _passed_over(entry.name))
    for name in names:
        if name not in filled:
            inside = walk(base / name, root).others
            others = f" (but other files: {_kinds(inside)})" if inside else ""
            raise DataError(
                f"the class folder {quoted(name)} in {base} holds no pictures{others}; add some or remove it"
            )


# ---- Walking --------------------------------------------------------------------------------------------------------


def walk(folder: Path, root: Path | None = None) -> Found:
    """Return what a folder and the folders in it hold; see the head of this file for what is passed over.

    Args:
        folder: Where to start, resolved.
        root: What links may not lead out of; None: the folder itself.

    Raises:
        DataError: A folder cannot be read, or a name or a link is refused.
    """
    found = Found()
    root = root or folder
    pending: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(folder),))]
    while pending:
        prefix, chain = pending.pop()
        for entry in _entries(folder / prefix):
            name = prefix + entry.name
            target = _target(root, folder, name, entry)
            if target is not None and target[1]:
                if target[0] in chain:
                    raise DataError(f"the link {quoted(name)} in {folder} leads back to a folder it lies in; remove it")
                if not prefix:
                    found.folders.append(entry.name)
                pending.append((f"{name}/", (*chain, target[0])))
            elif is_picture(entry.name):
                if target is None or not _is_regular(entry):
                    raise DataError(f"{quoted(name)} in {folder} is called like a picture but is no file; remove it")
                found.pictures.append(name)
            else:
                suffix = PurePosixPath(entry.name).suffix.lower()
                found.others[suffix] += suffix not in _QUIET and bool(suffix)
    found.pictures.sort()
    found.folders.sort()
    found.others = +found.others
    return found


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):  # the first error is the same everywhere
                if _passed_over(entry.name):
                    continue
                try:
                    entry.name.encode()
                except UnicodeEncodeError:
                    raise DataError(
                        f"the name {entry.name!a} in {folder} is not valid UTF-8; rename it, as with convmv"
                    ) from None
                yield entry
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror or error}") from None


def _passed_over(name: str) -> bool:
    return name.startswith(".") or name in _FOREIGN


def _target(root: Path, folder: Path, name: str, entry: os.DirEntry[str]) -> tuple[str, bool] | None:
    """Return what an entry stands for, resolved where it is a folder or a link, and whether it is a folder.

    None: it stands for no file, as a link to nothing.
    """
    if not entry.is_symlink():
        is_folder = entry.is_dir(follow_symlinks=False)
        return (os.path.realpath(entry.path) if is_folder else entry.path), is_folder
    try:
        target = os.path.realpath(entry.path, strict=True)
    except OSError as error:
        if is_picture(entry.name):
            raise DataError(
                f"the link {quoted(name)} in {folder} leads nowhere ({error.strerror or error}); remove it"
            ) from None
        return None
    is_folder = Path(target).is_dir()
    if not is_inside(root, target) and (is_folder or is_picture(entry.name)):
        raise DataError(
            f"the link {quoted(name)} in {folder} leads out of data.path, to {target}; nothing outside the folder is "
            "read. Copy what it names into the folder (cp -rL), or give the folder that holds both as data.path"
        )
    return target, is_folder


def is_inside(root: Path, resolved: str) -> bool:
    """Tell whether a resolved path lies in a resolved folder."""
    return Path(resolved).is_relative_to(root)


def _is_regular(entry: os.DirEntry[str]) -> bool:
    try:
        return stat.S_ISREG(entry.stat().st_mode)
    except OSError:
        return False


def _notes(found: Found) -> list[str]:
    if not found.others:
        return []
    return [f"passed over {sum(found.others.values()):,} files that are no pictures ptft reads: {_kinds(found.others)}"]


def _kinds(others: Counter[str]) -> str:
    return ", ".join(f"{count:,} {quoted(suffix)}" for suffix, count in others.most_common(5))
