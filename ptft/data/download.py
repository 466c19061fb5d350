"""Where downloaded data sets go, and fetching one: only when asked, whole or not at all, checked by its digest."""

import os
import sys
from pathlib import Path

from ptft.errors import DataError, FetchError
from ptft.runtime import download


def cache_folder() -> Path:
    """Return the folder that downloads go to when no `data.path` is given."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ptft"


def check_allowed(folder: Path) -> None:
    """Check that data may be fetched into a folder.

    Raises:
        DataError: The network is forbidden.
    """
    if (why := download.forbidden()) is not None:
        raise DataError(f"data.download=true, but {why}; unset that, or put the files into {folder}")


def fetch_file(url: str, target: Path, digest: str) -> None:
    """Fetch a file to `target` and say so on stderr; nobody ever finds a part of it there.

    Args:
        url: Where it lies; https.
        target: Where it goes; its folder is made.
        digest: SHA-256 of its content as hex digits.

    Raises:
        DataError: Going there is forbidden, or it cannot be fetched, or is not what the digest says.
    """
    check_allowed(target.parent)
    try:
        download.fetch(url, target, digest, lambda text: print(text, file=sys.stderr))
    except FetchError as error:
        raise DataError(f"{error}; fetch it another way and put it into {target.parent}") from error
