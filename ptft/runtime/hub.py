"""Models of the Hugging Face hub: safetensors and config, never code; the local cache is asked first."""

import re
from collections.abc import Callable
from pathlib import Path

from ptft.errors import ConfigError, FetchError
from ptft.runtime.download import CONNECT_SECONDS, forbidden, within
from ptft.runtime.find import is_path

WANTED = ("config.json", "preprocessor_config.json", "model.safetensors", "model.safetensors.index.json")
"""Files of a snapshot that are read; beside them the shards that the index names."""
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
"""Files of a tokenizer, of those models that read text."""
SHARDS = "model-*-of-*.safetensors"
NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?", re.ASCII)
"""`org/name`, or an old name without organisation, and after `@` a branch, tag or commit."""


def model_folder(name: str, *, pretrained: bool) -> Path:
    """Return the folder of a model that `model.name=` names: a path, or a name of the hub.

    Raises:
        ConfigError: That is no name of a model.
        FetchError: It is not in the cache and cannot be fetched.
    """
    return Path(name).expanduser() if is_path(name) else snapshot(name, weights=pretrained)


def snapshot(name: str, *, weights: bool, offline: bool = False, say: Callable[[str], None] = lambda _: None) -> Path:
    """Return the local folder of a model of the hub, fetched if it is not in the cache.

    Args:
        name: `org/name` or `org/name@revision`.
        weights: Whether weights are needed too, or the config alone.
        offline: Look in the cache only.
        say: Is told what is fetched.

    Raises:
        ConfigError: That is no name of a model.
        FetchError: It is not in the cache and cannot be fetched; the message says where was looked.
    """
    if NAME.fullmatch(name) is None or ".." in name:
        raise ConfigError(f"hub:{name}: takes the name of a model on the hub, such as hub:google/vit-base-patch16-224")
    from huggingface_hub import constants, snapshot_download

    repository, _, revision = name.partition("@")
    patterns = [*WANTED, SHARDS, *TOKENIZER] if weights else [*WANTED[:2], *TOKENIZER]
    cached = _cached(repository, revision or None)
    if cached is not None and _whole(cached, weights):
        return cached
    place = f"looked in {constants.HF_HUB_CACHE} (HF_HUB_CACHE or HF_HOME move it)"
    remedy = "bring it there with the hub's own client, or give a local folder as ./folder"
    if (why := forbidden(offline)) is not None:
        raise FetchError(f"hub:{name} is not here and would be fetched, but {why}; {place}; {remedy}")
    try:
        commit = within(CONNECT_SECONDS, lambda: _commit(repository, revision or None))
        say(f"fetching {repository} at {commit[:12]} from the hub")
        folder = Path(snapshot_download(repository, revision=commit, allow_patterns=patterns))
    except Exception as error:  # the client raises errors of its own, of its transport and of the disk
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise FetchError(f"cannot fetch hub:{name} ({reason}); {place}; {remedy}") from None
    if not _whole(folder, weights):
        lacks = "weights as model.safetensors" if (folder / "config.json").is_file() else "config.json"
        raise FetchError(f"hub:{name} has no {lacks}; ptft reads no other form, as pickles and code could do anything")
    return folder


def _cached(repository: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, revision=revision, local_files_only=True))
    except Exception:  # not there, in whatever way the client says it
        return None


def _commit(repository: str, revision: str | None) -> str:
    """Return the commit that a revision stands for now."""
    from huggingface_hub import HfApi

    commit = HfApi().model_info(repository, revision=revision, timeout=CONNECT_SECONDS).sha
    if commit is None:
        raise ValueError("the hub tells no commit of it")
    return str(commit)


def _whole(folder: Path, weights: bool) -> bool:
    """Tell whether a snapshot holds what is needed; a missing shard is found when it is read."""
    has_weights = any((folder / name).is_file() for name in WANTED[2:])
    return (folder / "config.json").is_file() and (has_weights or not weights)
