"""Settings that a config nests under one key of the data, `data.split` say: a mapping becomes a dataclass."""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from ptft.errors import ConfigError

Settings = TypeVar("Settings")


def nested(kind: type[Settings], values: "Settings | Mapping[str, Any] | None", key: str) -> Settings:
    """Return settings from a mapping of their fields; None gives the default, and settings stay as they are.

    Args:
        kind: Their dataclass.
        values: What the config gives.
        key: Where it stands in the config, for errors.

    Raises:
        ConfigError: A key is unknown.
    """
    if values is None:
        return kind()
    if not isinstance(values, Mapping):
        return values
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise ConfigError(f"{key} takes {', '.join(known)}, found `{name}`{hint}")
    return kind(**values)
