"""Python source read without importing it: what a file defines, what it imports, where a module lies.

The check at the door looks at components this way, so that a refused command has run no line of their code.
"""

import ast
import sys
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path

import ptft

Definition = ast.ClassDef | ast.FunctionDef
_PTFT = Path(ptft.__file__).parent


@dataclass(frozen=True, eq=False)
class Source:
    """One parsed file.

    Attributes:
        module: Its dotted name.
        path: The file.
        definitions: Classes and functions defined at its top level, by name.
        imports: What other names stand for: the dotted module and the name in it (empty: the module itself).
        assignments: Top-level assignments by name.
    """

    module: str
    path: Path
    definitions: dict[str, Definition]
    imports: dict[str, tuple[str, str]]
    assignments: dict[str, ast.expr]


@cache
def find_module(name: str) -> Path | None:
    """Return the file of a module, or None; nothing is imported, not even the packages above it."""
    words = name.split(".")
    if words[0] == "ptft":  # the ptft that is running, whatever else sys.path holds
        base = _PTFT.joinpath(*words[1:])
        return next((path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()), None)
    spec = _find_spec(words)
    path = Path(spec.origin) if spec is not None and spec.origin else None
    return path if path is not None and path.suffix == ".py" and path.is_file() else None


def package_exists(name: str) -> bool:
    """Tell whether there is a package or module of this name; nothing is imported."""
    return _find_spec(name.split(".")) is not None


def _find_spec(words: list[str]) -> ModuleSpec | None:
    locations: list[str] | None = None
    spec = None
    for depth in range(1, len(words) + 1):
        part = ".".join(words[:depth])
        specs = (finder.find_spec(part, locations) for finder in sys.meta_path)
        spec = next((found for found in specs if found is not None), None)
        if spec is None:
            return None
        locations = list(spec.submodule_search_locations or [])
    return spec


@cache
def read_source(module: str) -> Source | None:
    """Return the parsed source of a module, or None where there is no readable one."""
    path = find_module(module)
    if path is None:
        return None
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError, OSError):
        return None
    source = Source(module, path, {}, {}, {})
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            source.definitions[node.name] = node
        elif isinstance(node, ast.ImportFrom | ast.Import):
            source.imports.update(_bindings(node, module, is_package=path.name == "__init__.py"))
        elif isinstance(node, ast.Assign):
            source.assignments.update({t.id: node.value for t in node.targets if isinstance(t, ast.Name)})
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            source.assignments[node.target.id] = node.value
    return source


def _bindings(node: ast.Import | ast.ImportFrom, module: str, is_package: bool) -> dict[str, tuple[str, str]]:
    """Return the names an import statement binds."""
    if isinstance(node, ast.Import):
        return {
            a.asname or a.name.split(".")[0]: (a.name if a.asname else a.name.split(".")[0], "") for a in node.names
        }
    words = module.split(".") if is_package else module.split(".")[:-1]
    above = words[: len(words) - node.level + 1] if node.level else []
    origin = ".".join([*above, *([node.module] if node.module else [])])
    return {alias.asname or alias.name: (origin, alias.name) for alias in node.names}


def follow(source: Source, name: str) -> tuple[Source, Definition] | None:
    """Find the definition behind a (possibly dotted) name used in a file, through its imports; None if unseen."""
    seen: set[tuple[str, str]] = set()
    while (source.module, name) not in seen:
        seen.add((source.module, name))
        if name in source.definitions:
            return source, source.definitions[name]
        head, _, rest = name.partition(".")
        if head not in source.imports:
            return None
        module, attribute = source.imports[head]
        target = ".".join(word for word in (attribute, rest) if word)
        # `from package import module` and then `module.Name`
        inner = f"{module}.{attribute}" if attribute and rest else ""
        found = read_source(inner) if inner and find_module(inner) else None
        name = rest if found is not None else target
        following = found if found is not None else read_source(module)
        if following is None or not name:
            return None
        source = following
    return None
