"""`unroll/requests.py`: what a request may hold, as TypedDicts, from the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

from docs.generate.formatting import formatted

Schema = Mapping[str, Any]

# What the client calls them, the schema, and the fields that its methods name themselves.
_OPTIONS: dict[str, tuple[str, frozenset[str]]] = {
    "JobFields": ("JobSpec", frozenset()),
    "SweepFields": ("SweepSpec", frozenset()),
    "CompletionOptions": ("CompletionRequest", frozenset({"model", "prompt", "stream"})),
    "PredictOptions": ("PredictRequest", frozenset({"model", "inputs"})),
    "InspectOptions": ("InspectRequest", frozenset({"model", "input"})),
    "KeyFields": ("KeyRequest", frozenset()),
    "TenantFields": ("TenantLimits", frozenset()),
}
_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_HEAD = '''\
"""What a request may hold. Written by `make reference` from the OpenAPI document; change it there.

No field is needed for these types' sake: the server fills in its defaults, and says what it cannot do without.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict
'''


def requests_module(document: dict[str, Any]) -> str:
    """The text of the module."""
    schemas: dict[str, Schema] = document["components"]["schemas"]
    names = {schema: name for name, (schema, _) in _OPTIONS.items()}
    wanted = _with_parts([schema for schema, _ in _OPTIONS.values()], schemas)
    parts = []
    for schema in wanted:
        left_out = _OPTIONS[names[schema]][1] if schema in names else frozenset()
        parts.append(_class(names.get(schema, schema), schemas[schema], left_out, names, schemas))
    return formatted("\n\n".join([_HEAD, *parts]))


def _with_parts(names: list[str], schemas: Mapping[str, Schema]) -> list[str]:
    """The objects of these names and all that they refer to, each behind its parts."""
    found: list[str] = []

    def visit(name: str) -> None:
        for part in _references(schemas[name]):
            if part not in found and "properties" in schemas[part]:
                visit(part)
        if name not in found:
            found.append(name)

    for name in names:
        visit(name)
    return found


def _references(node: Any) -> list[str]:
    if isinstance(node, Mapping):
        own = [node["$ref"].rpartition("/")[2]] if "$ref" in node else []
        return own + [name for value in node.values() for name in _references(value)]
    return [name for value in node for name in _references(value)] if isinstance(node, list) else []


def _class(
    name: str, schema: Schema, left_out: frozenset[str], names: Mapping[str, str], schemas: Mapping[str, Schema]
) -> str:
    said = " ".join(str(schema.get("description", name)).split()).partition(". ")[0].rstrip(".:")
    lines = [f"class {name}(TypedDict, total=False):", f'    """{said}."""', ""]
    for field, kind in schema["properties"].items():
        if field not in left_out:
            lines.append(f"    {field}: {_type(kind, names, schemas)}")
    return "\n".join(lines) + "\n"


def _type(field: Schema, names: Mapping[str, str], schemas: Mapping[str, Schema]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return names.get(name, name) if "properties" in schemas[name] else _type(schemas[name], names, schemas)
    if "const" in field or "enum" in field:
        return f"Literal[{', '.join(map(repr, field.get('enum') or [field['const']]))}]"
    if choices := field.get("anyOf") or field.get("oneOf"):
        return " | ".join(dict.fromkeys(_type(choice, names, schemas) for choice in choices))
    kind = field.get("type")
    if kind == "array":
        return f"Sequence[{_type(field.get('items', {}), names, schemas)}]"
    if kind == "object":
        values: Any = field.get("additionalProperties") or next(iter(field.get("patternProperties", {}).values()), {})
        return f"Mapping[str, {_type(values, names, schemas) if isinstance(values, Mapping) else 'Any'}]"
    return _SCALARS.get(str(kind), "Any")
