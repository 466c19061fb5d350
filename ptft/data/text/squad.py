"""Questions in files of SQuAD's format, v1.1 and v2.0: one file, divided by article, or a file for each split."""

from dataclasses import dataclass
from pathlib import Path

from ptft.data.listing import listed
from ptft.data.text.answer_texts import AnswerTexts
from ptft.data.text.rows import TextRows
from ptft.data.text.squad_file import Questions, read_squad
from ptft.errors import DataError

_PREFIXES = {"train": ("train",), "val": ("dev", "val"), "test": ("test",)}
"""How the files of a folder begin."""
_WANTED = (
    "a file in SQuAD's format (data.path=train-v2.0.json), or a folder with train*.json, and dev*.json or test*.json"
)


@dataclass(eq=False, repr=False, kw_only=True)
class Squad(AnswerTexts):
    """Questions of files; further settings as told at `AnswerTexts`.

    Attributes:
        path: The file of the training questions, or a folder of train*.json and, if they are there, dev*.json (or
            val*.json) and test*.json.
        val: The file of the validation questions; None: that of the folder, else `split` takes them from `path`.
        test: The same of the test questions.
    """

    val: str | None = None
    test: str | None = None

    def read(self) -> TextRows:
        """Read the files.

        Raises:
            DataError: A file is missing or damaged, or a question in it cannot be used.
        """
        found, seen = Questions(), dict[str, str]()
        files = self._files()
        for split, file in files.items():
            before = len(found.question)
            read_squad(file, split, found, self.bad_rows, seen)
            if len(found.question) == before:
                raise DataError(f"{file} holds no question that can be used")
        return found.rows(divided=len(files) > 1)

    def _files(self) -> dict[str, Path]:
        if not self.path:
            raise DataError(f"data.path is not given: name {_WANTED}")
        root = Path(self.path).expanduser()
        files = _of_folder(root) if root.is_dir() else {"train": root}
        files |= {name: Path(given).expanduser() for name, given in (("val", self.val), ("test", self.test)) if given}
        for name, file in files.items():
            if not file.is_file():
                key = "path" if name == "train" else name
                raise DataError(f"data.{key}={file}: there is no such file (looked for {file.absolute()})")
        return files


def _of_folder(root: Path) -> dict[str, Path]:
    names = sorted(file.name for file in root.glob("*.json"))
    files: dict[str, Path] = {}
    for split, prefixes in _PREFIXES.items():
        own = [name for name in names if name.lower().startswith(prefixes)]
        if len(own) > 1:
            raise DataError(
                f"{root}: {listed(own)} may all be the {split} split; name the files: data.path, .val, .test"
            )
        if own:
            files[split] = root / own[0]
    if "train" not in files:
        raise DataError(f"{root} holds no train*.json (it holds {listed(names) or 'no .json'}); expected {_WANTED}")
    return files
