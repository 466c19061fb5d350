"""Fetching one file over https: with a deadline to connect, whole or not at all, and checked by its digest.

Only what the user named is fetched; `offline=true` and HF_HUB_OFFLINE=1 forbid it.
"""

import hashlib
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any, TypeVar

from ptft.errors import FetchError
from ptft.runtime import files

CONNECT_SECONDS = 5.0
"""Until an answer must have begun: name look-up, connection and first line together."""
READ_SECONDS = 30.0
"""How long a connection may stay silent."""
_CHUNK = 1 << 20
Result = TypeVar("Result")


def forbidden(offline: bool = False) -> str | None:
    """Return what forbids the network, in words, or None."""
    if offline:
        return "offline=true forbids that"
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return "HF_HUB_OFFLINE forbids that"
    return None


def within(seconds: float, action: Callable[[], Result]) -> Result:
    """Return what an action returns, or raise TimeoutError after some seconds and leave it behind.

    Looking up a name has no timeout of its own, and trying all addresses of a host takes one timeout each.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(action())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return results[0]


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    """Follows redirections to https alone."""

    def redirect_request(
        self, request: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request that follows, or refuse it."""
        if not newurl.startswith("https://"):
            raise urllib.error.URLError(f"redirected to {newurl}, which is not https")
        return super().redirect_request(request, fp, code, msg, headers, newurl)


def open_url(url: str) -> Any:
    """Open an https address for reading; the answer has `headers`.

    Raises:
        OSError: There is no network, no such host or no such file.
    """
    opener = urllib.request.build_opener(_OnlyHttps())
    return opener.open(urllib.request.Request(url, headers={"User-Agent": "ptft"}), timeout=READ_SECONDS)


def fetch(url: str, target: Path, digest: str, say: Callable[[str], None]) -> None:
    """Fetch a file to `target`, whose folder is made; nobody ever finds a part of it there.

    Args:
        url: Where it lies; https.
        target: Where it goes.
        digest: SHA-256 of its content as hex digits, or the first eight or more of them.
        say: Is told what is fetched, and how large it is.

    Raises:
        FetchError: It cannot be fetched or written, or is not what the digest says; nothing is left behind.
    """
    if not url.startswith("https://") or len(digest) < 8:
        raise FetchError(f"{url}: only https addresses with a known digest are fetched")
    temporary = target.with_name(f".tmp-{os.getpid()}-{target.name}")
    try:
        with within(CONNECT_SECONDS, lambda: open_url(url)) as answer:
            size = int(answer.headers.get("Content-Length") or 0)
            say(f"fetching {url}" + (f" ({size / 1e6:.1f} MB)" if size else ""))
            target.parent.mkdir(parents=True, exist_ok=True)
            found = _copy(answer, temporary)
        if not found.startswith(digest.lower()):
            raise FetchError(f"{url}: what came is not what was published (SHA-256 {found[:16]}..., not {digest}...)")
        files.rename(temporary, target)
        files.sync_directory(target.parent)
    except (OSError, HTTPException, ValueError) as error:
        raise FetchError(f"cannot fetch {url} ({_reason(error)})") from None
    finally:
        temporary.unlink(missing_ok=True)


def _copy(answer: Any, path: Path) -> str:
    """Write what is read to a file, push it to the disk and return its digest."""
    hasher = hashlib.sha256()
    with path.open("wb") as file:
        while chunk := answer.read(_CHUNK):
            hasher.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return hasher.hexdigest()


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason).strip() or type(reason).__name__
