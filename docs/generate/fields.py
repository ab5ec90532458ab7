"""JSON Schema -> rows of a table: field, type, default, limits, what it is. Knows no schema in particular."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from docs.generate.markdown import code, table

Schema = Mapping[str, Any]
Link = Callable[[str], str]

_LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} pairs",
    "maxProperties": "at most {} pairs",
    "pattern": "`{}`",
}


def fields_table(schema: Schema, link: Link) -> str:
    """Every field of an object. `link` turns the name of a schema into a link to it."""
    required = set(schema.get("required", ()))
    rows = [
        (code(name), type_of(field, link), _default(field, name in required), limits_of(field), _said(field))
        for name, field in schema.get("properties", {}).items()
    ]
    return table(("field", "type", "default", "limits", "what"), rows)


def type_of(field: Schema, link: Link) -> str:
    """`integer or null`, `list of strings`, a link to an object of ours, or the values that there are."""
    if "$ref" in field:
        return link(field["$ref"].rpartition("/")[2])
    if "const" in field:
        return code(json.dumps(field["const"]))
    if "enum" in field:
        return ", ".join(code(json.dumps(value)) for value in field["enum"])
    if choices := field.get("anyOf") or field.get("oneOf") or field.get("allOf"):
        return " or ".join(dict.fromkeys(type_of(choice, link) for choice in choices))
    kind = field.get("type", "any JSON")
    if kind == "array":
        return f"list of {type_of(field.get('items', {}), link)}"
    values = field.get("additionalProperties")
    if kind == "object" and isinstance(values, Mapping):
        return f"object of {type_of(values, link)}"
    return str(kind)


def limits_of(field: Schema) -> str:
    """`≥ 1, ≤ 4096`; those of an item too, and of each choice."""
    own = [text.format(_plain(field[name])) for name, text in _LIMITS.items() if name in field]
    parts = (*field.get("anyOf", ()), *field.get("oneOf", ()), *([field["items"]] if "items" in field else ()))
    return ", ".join(dict.fromkeys([*own, *filter(None, map(limits_of, parts))]))


def _default(field: Schema, is_required: bool) -> str:
    if is_required:
        return "required"
    return code(json.dumps(field["default"])) if "default" in field else ""


def _said(field: Schema) -> str:
    return str(field.get("description", ""))


def _plain(value: object) -> str:
    return f"{value:,.12g}".replace(",", " ") if isinstance(value, int | float) else str(value)
