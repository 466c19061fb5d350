"""What a component or a settings class takes, read from source with `ast`: names, kinds of values, what is required."""

import ast
from collections.abc import Callable
from functools import cache
from typing import Any, get_args, get_origin

from ptft import types
from ptft.config.kinds import Anything, Choice, DurationKind, Field, Kind, ListOf, MappingOf, OneOf, Record, Scalar
from ptft.config.source import Definition, Source, follow

_SCALARS: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool}
_LISTS = {"list", "List", "Sequence", "Iterable", "Collection"}
_MAPPINGS = {"dict", "Dict", "Mapping"}
_DEPTH = 12  # annotations and base classes nest less than that; a loop of aliases ends here


@cache
def settings_record(source: Source, name: str) -> Record:
    """Return the fields of a settings dataclass defined in a file."""
    definition = source.definitions[name]
    assert isinstance(definition, ast.ClassDef), name
    return Record(name, tuple(_dataclass_fields(source, definition)))


def component_record(source: Source, definition: Definition, supplied: int) -> Record:
    """Return the settings of a component: its keyword-only parameters.

    Without a `*` in the signature, or outside ptft, all parameters after the first `supplied` ones are settings too.
    """
    function = definition if isinstance(definition, ast.FunctionDef) else None
    owner = source
    if isinstance(definition, ast.ClassDef):
        found = _constructor(source, definition)
        if isinstance(found, list):
            return Record(definition.name, tuple(found))
        if found is None:
            return Record(definition.name, ())
        owner, function = found
    assert function is not None
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args][isinstance(definition, ast.ClassDef) :]
    required = len(positional) - len(arguments.defaults)
    fields = []
    if not arguments.kwonlyargs or not source.module.startswith("ptft."):
        fields = [
            Field(a.arg, read_kind(owner, a.annotation), number < required)
            for number, a in enumerate(positional)
            if number >= supplied
        ]
    fields += [
        Field(a.arg, read_kind(owner, a.annotation), default is None)
        for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    return Record(definition.name, tuple(fields), open=arguments.kwarg is not None)


def _constructor(source: Source, definition: ast.ClassDef) -> tuple[Source, ast.FunctionDef] | list[Field] | None:
    """Find `__init__` in a class or its bases, as far as their source can be seen; fields for a dataclass."""
    queue: list[tuple[Source, ast.ClassDef]] = [(source, definition)]
    for _ in range(_DEPTH):
        if not queue:
            break
        source, definition = queue.pop(0)
        for node in definition.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                return source, node
        if _is_dataclass(definition):
            return _dataclass_fields(source, definition)
        for base in definition.bases:
            found = follow(source, ast.unparse(base))
            # torch's own base classes (nn.Module) add no settings, and reading them would take longer than the check.
            if found is not None and isinstance(found[1], ast.ClassDef) and not _out_of_sight(source, found[0]):
                queue.append((found[0], found[1]))
    return None


def _out_of_sight(user: Source, base: Source) -> bool:
    package = base.module.partition(".")[0]
    return package not in ("ptft", user.module.partition(".")[0])


def _is_dataclass(definition: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator) for decorator in definition.decorator_list)


def _dataclass_fields(source: Source, definition: ast.ClassDef) -> list[Field]:
    """Return the fields of a dataclass, those of its bases first; what stands before `_: KW_ONLY` ptft supplies."""
    if not _is_dataclass(definition):
        return []
    fields: dict[str, Field] = {}
    for base in definition.bases:
        found = follow(source, ast.unparse(base))
        if found is not None and isinstance(found[1], ast.ClassDef) and not _out_of_sight(source, found[0]):
            fields |= {field.name: field for field in _dataclass_fields(found[0], found[1])}
    nodes = [node for node in definition.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]
    marks = [number for number, node in enumerate(nodes) if ast.unparse(node.annotation).endswith("KW_ONLY")]
    for node in nodes[marks[0] + 1 :] if marks else nodes:
        if isinstance(node.target, ast.Name) and "ClassVar" not in ast.unparse(node.annotation):
            name = node.target.id
            fields[name] = Field(name, read_kind(source, node.annotation), node.value is None)
    return list(fields.values())


# Annotations


def read_kind(source: Source, annotation: ast.expr | None, depth: int = 0) -> Kind:
    """Return the kind of values an annotation names; `Anything` where it names none that a config could hold."""
    if annotation is None or depth > _DEPTH:
        return Anything()
    if isinstance(annotation, ast.Constant):
        if annotation.value is None:
            return Scalar(type(None))
        if isinstance(annotation.value, str):  # a forward reference
            return read_kind(source, ast.parse(annotation.value, mode="eval").body, depth + 1)
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return _union([annotation.left, annotation.right], lambda node: read_kind(source, node, depth + 1))
    if isinstance(annotation, ast.Subscript):
        return _subscript(source, annotation, depth)
    if isinstance(annotation, ast.Name | ast.Attribute):
        return _named(source, ast.unparse(annotation), depth)
    return Anything()


def _subscript(source: Source, node: ast.Subscript, depth: int) -> Kind:
    name = ast.unparse(node.value).rpartition(".")[2]
    items = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]

    def read(item: ast.expr) -> Kind:
        return read_kind(source, item, depth + 1)

    if name == "Literal":
        return Choice(tuple(ast.literal_eval(item) for item in items))
    if name == "Optional":
        return _union([items[0], ast.Constant(None)], read)
    if name == "Union":
        return _union(items, read)
    if name == "Annotated":
        return read(items[0])
    if name in _LISTS:
        return ListOf((read(items[0]),))
    if name in ("tuple", "Tuple"):
        endless = isinstance(items[-1], ast.Constant) and items[-1].value is Ellipsis
        return ListOf(tuple(read(item) for item in (items[:1] if endless else items)), not endless, tuple)
    if name in _MAPPINGS and len(items) == 2:
        return MappingOf(read(items[1]))
    return Anything()


def _union(nodes: list[ast.expr], read: Callable[[ast.expr], Kind]) -> Kind:
    kinds: list[Kind] = []
    for kind in map(read, nodes):
        kinds += kind.kinds if isinstance(kind, OneOf) else [kind]
    # A tensor or another object beside plain types: a config can hold only the plain ones.
    plain = tuple(kind for kind in kinds if not isinstance(kind, Anything))
    return OneOf(plain) if len(plain) > 1 else plain[0] if plain else Anything()


def _named(source: Source, name: str, depth: int) -> Kind:
    if name in _SCALARS:
        return Scalar(_SCALARS[name])
    if name in _LISTS | {"tuple"}:
        return ListOf((Anything(),), make=tuple if name == "tuple" else list)
    if name in _MAPPINGS:
        return MappingOf(Anything())
    origin, attribute = source.imports.get(name.partition(".")[0], ("", ""))
    last = name.rpartition(".")[2] if "." in name else attribute
    if origin == "ptft.types" or f"{origin}.{attribute}" == "ptft.types":
        return _from_types(getattr(types, last, None))
    if name in source.assignments:  # an alias: Norm = Literal["batch", "none"]
        return read_kind(source, source.assignments[name], depth + 1)
    if (origin, attribute) == ("pathlib", "Path"):
        return Scalar(str)
    # Classes of other packages are no settings, and reading torch's files would take longer than the check.
    near = not origin or origin.partition(".")[0] in ("ptft", source.module.partition(".")[0])
    found = follow(source, name) if near else None
    return _settings(*found) if found is not None else Anything()


def _settings(source: Source, definition: Definition) -> Kind:
    if isinstance(definition, ast.ClassDef) and _is_dataclass(definition):
        return settings_record(source, definition.name)
    return Anything()


def _from_types(alias: Any) -> Kind:
    """Return the kind behind a name of `ptft.types`."""
    if get_origin(alias) is None:
        return Anything()
    base, mark = get_args(alias)
    return DurationKind() if mark == "duration" else Scalar(base, mark)
