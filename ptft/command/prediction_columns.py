"""Which columns of a table the data of a run read, which one names a row, and which the output repeats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ptft.config.problems import nearest
from ptft.data.data_module import DataModule
from ptft.data.listing import listed
from ptft.errors import ConfigError

_USUAL = ("text", "text_pair")
"""What the first fields are called where the data call them by their columns."""


@dataclass
class Columns:
    """The columns of a table by their use; the first row is held against them, as a wrong name is wrong for all.

    Attributes:
        fields: The fields that the data read.
        columns: The column of each.
        required: The fields without which no row can be read.
        keys: The setting that names the column of each field, for messages.
        id: The column that names a row; None: its number does.
        keep: The columns that the output repeats; None: all.
        seen: Whether a row was held against them.
    """

    fields: tuple[str, ...]
    columns: Mapping[str, str]
    required: frozenset[str]
    keys: Mapping[str, str]
    id: str | None
    keep: Sequence[str] | None
    seen: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any], data: DataModule) -> "Columns":
        """Return the columns that a config names.

        Raises:
            ConfigError: It names one for a field that the data do not read.
        """
        fields = data.fields
        given = dict(config["columns"] or {})
        # Models that learned from texts alone were given pairs of them, but need none.
        named, keys, required = {}, {}, set(fields[:1] if data.spec.target == "tokens" else fields)
        for place, field in enumerate(fields):
            usual = _USUAL[place] if place < len(_USUAL) and data.spec.kind == "text" else field
            own = config["data"].get(field)
            chosen = given.pop(field, None) or given.pop(usual, None)
            named[field] = chosen or (own if isinstance(own, str) else field)
            keys[field] = f"data.{usual}" if usual in config["data"] else f"columns.{usual}"
            if chosen:
                required.add(field)
        if given:
            wrong = next(iter(given))
            raise ConfigError(f"columns.{wrong}: the data of this run read {listed(fields)}{nearest(wrong, fields)}")
        keep = config["keep"]
        kept = list(named.values()) if keep == "read" else None if keep == "all" else list(keep)
        return cls(fields, named, frozenset(required), keys, config["id"], kept)

    def read(self, values: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
        """Return what the data read of a row, and why they cannot, if so.

        Raises:
            ConfigError: The first row of all has not the columns.
        """
        if not self.seen:
            self._hold_against(values)
        found = {field: values[column] for field, column in self.columns.items() if column in values}
        if len(found) < len(self.columns) and (lacking := self.required.difference(found)):
            return found, f"it has no `{self.columns[min(lacking)]}`; it has {listed(values)}"
        return found, ""

    def refuse_single(self) -> None:
        """Refuse rows that are one text each, where the data read more.

        Raises:
            ConfigError: They do.
        """
        if len(self.required) > 1:
            raise ConfigError(
                f"this run reads {listed(self.columns.values())} of each row; give a table with these columns, as csv "
                "or json lines"
            )

    def refuse_names(self) -> None:
        """Refuse names of columns where rows have none.

        Raises:
            ConfigError: One is named.
        """
        read = list(self.columns.values())
        for key, name in (("id", self.id), ("keep", None if self.keep in (None, read) else self.keep)):
            if name is not None:
                raise ConfigError(f"{key}={name}: only a table has columns, and input= names none; leave it out")

    def name(self, values: Mapping[str, Any], number: int) -> Any:
        """Return what the output calls a row."""
        return number if self.id is None else values.get(self.id)

    def kept(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what the output repeats of a row."""
        if self.keep is None:
            return {name: value for name, value in values.items() if name != self.id}
        return {name: values[name] for name in self.keep if name in values}

    def _hold_against(self, values: Mapping[str, Any]) -> None:
        """Refuse names that the first row does not know."""
        self.seen = True
        there = list(values)
        for field in self.fields:
            column = self.columns[field]
            if field in self.required and column not in there:
                near = nearest(column, there)
                raise ConfigError(
                    f"the input has no column `{column}`{near}; it has {listed(there)}. {self.keys[field]}=NAME says "
                    "what it is called there"
                )
        wanted = [("id", self.id), *(("keep", name) for name in (self.keep or []) if name not in self.columns.values())]
        for key, name in wanted:
            if name is not None and name not in there:
                raise ConfigError(
                    f"{key}={name}: the input has no such column{nearest(name, there)}; it has {listed(there)}"
                )
