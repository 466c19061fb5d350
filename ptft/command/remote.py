"""Weights that lie elsewhere: brought here once, from the cache if they are there, else from where they are published.

Torchvision's are looked for where torch's own loader keeps them, the hub's where its client does.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from ptft.command.published import DIGEST, find_published
from ptft.config.invocation import Invocation
from ptft.errors import CheckpointError, ConfigError, FetchError
from ptft.runtime import files
from ptft.runtime.download import fetch, forbidden
from ptft.runtime.find import Remote
from ptft.runtime.hub import snapshot


def with_weights_here(invocation: Invocation, offline: bool, say: Callable[[str], None]) -> Invocation:
    """Return what a command was told, with a local path in the place of weights that lie elsewhere.

    Raises:
        ConfigError: There are no such weights.
        FetchError: They are not here and cannot be fetched.
    """
    source = invocation.init_from
    return dataclasses.replace(invocation, init_from=bring(source, offline, say)) if source is not None else invocation


def bring(source: Path | Remote, offline: bool, say: Callable[[str], None]) -> Path:
    """Return the local path of weights, fetched if they are not here.

    Raises:
        ConfigError: There are no such weights.
        FetchError: They are not here and cannot be fetched.
        CheckpointError: The file in the cache is damaged.
    """
    if not isinstance(source, Remote):
        return source
    if source.place == "hub":
        return snapshot(source.name, weights=True, offline=offline, say=say)
    return _torchvision(source, offline, say)


def _torchvision(source: Remote, offline: bool, say: Callable[[str], None]) -> Path:
    import torch

    url = str(find_published(source.name).url)
    digest = DIGEST.search(url)
    if digest is None:
        raise ConfigError(
            f"{source}: its file {url} names no digest, so it is not fetched; give a local file as ./file"
        )
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if path.is_file():
        if not files.digest(path).startswith(digest[1]):
            raise CheckpointError(f"{path} is damaged: its SHA-256 does not begin with {digest[1]}; remove it")
        return path
    remedy = f"a local copy is looked for at {path} (TORCH_HOME moves it); put it there, or name a file as ./file"
    if (why := forbidden(offline)) is not None:
        raise FetchError(f"{source} is not here and would be fetched from {url}, but {why}; {remedy}")
    try:
        fetch(url, path, digest[1], say)
    except FetchError as error:
        raise FetchError(f"{source}: {error}; {remedy}") from None
    return path
