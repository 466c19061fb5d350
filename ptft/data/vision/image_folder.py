"""Pictures in a folder of the user's own: class folders, train/val/test folders, a csv, or no labels at all.

photos/cats/001.jpg  photos/dogs/7.png                  the folder is the class; data.split divides
photos/train/cats/001.jpg  photos/val/cats/2.jpg        val and test, where missing, are taken from train
photos/labels.csv  photos/images/001.jpg                data.csv=labels.csv: columns path, label, perhaps split
photos/001.jpg  photos/2024/7.png                       data.labels=false: to pre-train without labels
"""

from dataclasses import dataclass
from typing import Literal

from ptft.data.file_pictures import FilePictures
from ptft.data.listing import Listing
from ptft.data.listing_csv import Columns, list_csv
from ptft.data.listing_folder import checked_root, list_folder
from ptft.errors import ConfigError


@dataclass(eq=False, repr=False, kw_only=True)
class ImageFolder(FilePictures):
    """Pictures in a folder; further settings as told at `FilePictures`.

    Attributes:
        csv: A csv in that folder that names the pictures, relative to `path`; None: all in the folder are taken.
        columns: What its columns are called; a config gives a mapping of the fields of `Columns`. Further columns are
            kept for `split.group` and `evaluate.by`.
        labels: Whether the pictures have labels; auto: yes, unless all lie directly in the folder, or the csv names no
            column of labels.
        fail_on_overlap: Whether exact copies, or groups, in several of the splits that the data give are an error, not
            a warning.
    """

    csv: str | None = None
    columns: Columns | None = None
    labels: bool | Literal["auto"] = "auto"
    fail_on_overlap: bool = False

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: A setting is out of range, or names columns where there is no csv.
        """
        super().__post_init__()
        self._columns = Columns.of(self.columns)
        if self.csv is None and self._columns != Columns():
            raise ConfigError("data.columns names the columns of a csv, and none is given: data.csv=labels.csv")

    def refuses_overlap(self) -> bool:
        """Tell whether `fail_on_overlap` is set."""
        return self.fail_on_overlap

    def list_files(self) -> Listing:
        """List the pictures of the folder or of the csv.

        Raises:
            DataError: There are none, or something about them is wrong.
        """
        root = checked_root(self.path)
        if self.csv is None:
            return list_folder(root, self.labels)
        return list_csv(root, self.csv, self._columns, self.labels)
