"""What a YAML file must be before Hydra or OmegaConf sees it: small, shallow, plain.

Read at the level of YAML events, before any object is built: an alias bomb of 244 bytes takes OmegaConf seconds to
expand (omegaconf#794). Refused are more than 10,000 nodes (aliases counted as what they stand for), 32 levels,
1 MB, duplicate keys, tags that build objects, several documents.
"""

from dataclasses import dataclass, field
from pathlib import Path

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)

from ptft.errors import ConfigError
from ptft.runtime.text import printable

MAX_NODES, MAX_DEPTH, MAX_BYTES = 10_000, 32, 1_000_000
_PLAIN_TAGS = {None, "!"} | {
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")
}
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is some ten times faster


@dataclass
class _Open:
    """A mapping or sequence that is being read."""

    anchor: str | None
    is_mapping: bool
    keys: set[str] = field(default_factory=set)
    children: int = 0
    nodes: int = 1


def check_yaml(path: Path) -> str:
    """Return the text of a YAML file that is safe to load.

    Raises:
        ConfigError: It is not; the message names the file and the line.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(f"{path}: {size:,} bytes; a config file has at most {MAX_BYTES:,}")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is no UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    check_text(text, str(path))
    return text


def check_text(text: str, name: str) -> None:
    """Check the text of a YAML file called `name`; raises as `check_yaml` does."""
    guard = _Guard(name)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            guard.see(event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark is not None else name
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        tab = "\t" in text.splitlines()[mark.line] if mark is not None and mark.line < len(text.splitlines()) else False
        hint = "; there is a tab in this line: YAML is indented with spaces" if tab else ""
        raise ConfigError(printable(f"{where}: is no valid YAML: {problem}{hint}")) from error


class _Guard:
    """Counts what one stream of events would become."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.open: list[_Open] = []
        self.anchors: dict[str, int] = {}
        self.documents = 0
        self.nodes = 0

    def see(self, event: yaml.Event) -> None:
        """Take one event in.

        Raises:
            ConfigError: The file goes over a limit.
        """
        line = event.start_mark.line + 1 if event.start_mark is not None else 0
        if isinstance(event, DocumentStartEvent):
            self.documents += 1
            self._refuse_if(self.documents > 1, line, "a second document starts here; a config file holds one")
        elif isinstance(event, CollectionStartEvent):
            self._node(event, line, 1)
            self.open.append(_Open(event.anchor, isinstance(event, MappingStartEvent)))
            deep = len(self.open) > MAX_DEPTH
            self._refuse_if(deep, line, f"nested deeper than {MAX_DEPTH} levels")
        elif isinstance(event, CollectionEndEvent):
            closed = self.open.pop()
            if closed.anchor:
                self.anchors[closed.anchor] = closed.nodes
            if self.open:
                self.open[-1].nodes += closed.nodes
        elif isinstance(event, AliasEvent):
            self._refuse_if(event.anchor not in self.anchors, line, f"the alias *{event.anchor} stands for itself")
            self._node(event, line, self.anchors.get(event.anchor or "", 1))
        elif isinstance(event, ScalarEvent):
            if event.anchor:
                self.anchors[event.anchor] = 1
            self._node(event, line, 1)

    def _node(self, event: NodeEvent, line: int, nodes: int) -> None:
        """Count a node, and look at its tag and at the key it may be."""
        self.nodes += nodes
        self._refuse_if(self.nodes > MAX_NODES, line, f"more than {MAX_NODES:,} values (aliases written out)")
        tag = getattr(event, "tag", None)
        self._refuse_if(tag not in _PLAIN_TAGS, line, f"the tag `{tag}` is refused: a config holds plain values only")
        if not self.open:
            return
        parent = self.open[-1]
        if not isinstance(event, CollectionStartEvent):
            parent.nodes += nodes
        is_key = parent.is_mapping and parent.children % 2 == 0
        parent.children += 1
        if is_key:
            self._refuse_if(not isinstance(event, ScalarEvent), line, "a key must be a plain word")
            assert isinstance(event, ScalarEvent)
            self._refuse_if(event.value in parent.keys, line, f"the key `{event.value}` stands here a second time")
            parent.keys.add(event.value)

    def _refuse_if(self, wrong: bool, line: int, message: str) -> None:
        if wrong:
            raise ConfigError(printable(f"{self.name}:{line}: {message}"))
