"""Compiles a writer's schema into a walker that keeps the wanted fields."""

import enum
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from streamsplit.core.errors import UsageError
from streamsplit.wire.walker import Blocks, Fixed, Node, Number, Record, Text, Union

Wish = Mapping[str, "Wish | None"]
"""The fields wanted of a record; for a field that holds records (also within arrays, maps and unions) what is wanted
of those; None: all of the field."""

_FIXED = {"null": 0, "boolean": 1, "float": 4, "double": 8}
_NAMED = ("record", "error", "enum", "fixed")


def compile_walker(definition: Any, wish: Wish) -> Node:
    """Compile a schema.

    Args:
        definition: The schema's parsed JSON; a record.
        wish: The fields wanted of it; fields it lacks are ignored.

    Raises:
        UsageError: The schema has a part that cannot be walked safely: a type that contains itself, or an array of
            items that take no bytes.
    """
    return _Compiler().node(definition, "", wish, "")


class _Want(enum.Enum):
    """What is wanted of a part that holds no chosen fields."""

    NOTHING = enum.auto()
    ALL = enum.auto()


class _Compiler:
    """Holds the named types met so far."""

    def __init__(self) -> None:
        self.named: dict[str, tuple[Mapping[str, Any], str]] = {}
        self.inside: list[str] = []

    def node(self, schema: Any, path: str, wish: Wish | _Want, namespace: str) -> Node:
        """Compile one type; unwanted parts are skipped."""
        if isinstance(schema, list):
            branches = tuple(self.node(branch, path, wish, namespace) for branch in schema)
            return Union(path, branches, wish is not _Want.NOTHING)
        if isinstance(schema, dict):
            return self._complex(schema, path, wish, namespace)
        if schema in _FIXED:
            return Fixed(path, wish is not _Want.NOTHING, _FIXED[schema])
        if schema in {"int", "long"}:
            return Number(path, wish is not _Want.NOTHING)
        if schema in {"string", "bytes"}:
            return Text(path, wish is not _Want.NOTHING)
        full = schema if "." in schema or not namespace else f"{namespace}.{schema}"
        found = self.named.get(full) or self.named.get(schema)
        if found is None:
            raise UsageError(f"the writer's schema names the type {schema!r}, which it does not define")
        return self._complex(found[0], path, wish, found[1])

    def _complex(self, schema: Mapping[str, Any], path: str, wish: Wish | _Want, namespace: str) -> Node:
        kind = schema["type"]
        if kind == "array":
            return self._blocks(path, None, self.node(schema["items"], f"{path}[]", wish, namespace), wish)
        if kind == "map":
            item = self.node(schema["values"], f"{path}{{}}", wish, namespace)
            return self._blocks(path, Text(f"{path} (key)", wish is not _Want.NOTHING), item, wish)
        if kind not in _NAMED:
            return self.node(kind, path, wish, namespace)
        name, namespace = _full_name(schema, namespace)
        self.named[name] = (schema, namespace)
        if kind == "enum":
            return Number(path, wish is not _Want.NOTHING, len(schema["symbols"]))
        if kind == "fixed":
            return Fixed(path, wish is not _Want.NOTHING, schema["size"])
        return self._record(schema, path, wish, namespace, name)

    def _record(self, schema: Mapping[str, Any], path: str, wish: Wish | _Want, namespace: str, name: str) -> Record:
        with self._entered(name, path):
            fields = []
            for field in schema["fields"]:
                inner = f"{path}.{field['name']}" if path else field["name"]
                fields.append((field["name"], self.node(field["type"], inner, _of(wish, field["name"]), namespace)))
        widths = [node.width for _, node in fields]
        fixed = sum(width for width in widths if width is not None)
        least = sum(node.least for _, node in fields)
        return Record(tuple(fields), wish is not _Want.NOTHING, least, None if None in widths else fixed)

    @contextmanager
    def _entered(self, name: str, path: str) -> Iterator[None]:
        if name in self.inside:
            raise UsageError(f"field {path!r} of the writer's schema: the type {name!r} contains itself")
        self.inside.append(name)
        yield
        self.inside.pop()

    @staticmethod
    def _blocks(path: str, key: Text | None, item: Node, wish: Wish | _Want) -> Blocks:
        if key is None and item.least == 0:
            raise UsageError(f"field {path!r} of the writer's schema: an array of items that take no bytes")
        return Blocks(path, key, item, wish is not _Want.NOTHING)


def _of(wish: Wish | _Want, field: str) -> Wish | _Want:
    if isinstance(wish, _Want):
        return wish
    if field not in wish:
        return _Want.NOTHING
    inner = wish[field]
    return _Want.ALL if inner is None else inner


def _full_name(schema: Mapping[str, Any], namespace: str) -> tuple[str, str]:
    """Full name of a named type, and the namespace its fields are in."""
    name: str = schema["name"]
    if "." in name:
        return name, name.rpartition(".")[0]
    namespace = schema.get("namespace", namespace)
    return (f"{namespace}.{name}" if namespace else name), namespace
