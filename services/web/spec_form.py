"""The fields of a JobSpec as those of a form: names, bounds, defaults and sentences, from its schema. Knows no page.

A field that is left empty is not sent: what it then is stands in the schema, or is the service's to choose.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from rnncore.spec import JobSpec

_SCHEMA = JobSpec.model_json_schema()
# What a person looks for first; the rest is folded away, by the part of the spec that it is in.
_FIRST = (
    *("name", "model.cell", "model.hidden_size", "model.num_layers", "train.learning_rate", "train.batch_size"),
    *("train.tbptt_steps", "train.max_steps", "train.max_epochs", "train.max_seconds", "train.seed"),
)
# Chosen by a control of their own, or not by hand.
_APART = ("task", "dataset", "validation_dataset", "verify_of", "retry_of")
_ATTRIBUTES = (("minimum", "min"), ("exclusiveMinimum", "min"), ("maximum", "max"), ("maxLength", "maxlength"))
_GROUPS = {"model": "Network", "train": "Training", "resources": "Resources", "": "The rest"}


class SpecField(NamedTuple):
    """One field. `bounds` in words; `attributes` for the control; `empty` is what it is where nothing is entered."""

    name: str
    label: str
    says: str
    kind: Literal["choice", "number", "text", "lines", "pairs"]
    choices: tuple[str, ...]
    attributes: Mapping[str, str]
    bounds: str
    empty: str
    value: str


class Group(NamedTuple):
    """Fields that are shown together."""

    title: str
    fields: list[SpecField]
    is_folded: bool


def groups(given: Mapping[str, Any]) -> list[Group]:
    """All fields, those of `given` (dotted names) filled in."""
    fields = {name: _field(name, schema, given.get(name)) for name, schema in _properties()}
    first = [fields[name] for name in _FIRST]
    folded: dict[str, list[SpecField]] = {}
    for name, field in fields.items():
        if name not in _FIRST and name not in _APART:
            folded.setdefault(name.partition(".")[0] if "." in name else "", []).append(field)
    return [Group("", first, False), *(Group(title, folded[part], True) for part, title in _GROUPS.items())]


def tasks() -> tuple[str, ...]:
    """What can be learnt."""
    return tuple(_SCHEMA["properties"]["task"]["enum"])


def _properties() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, schema in _SCHEMA["properties"].items():
        if "$ref" in schema:
            part = _SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
            yield from ((f"{name}.{inner}", own) for inner, own in part["properties"].items())
        else:
            yield name, schema


def _field(name: str, schema: Mapping[str, Any], value: Any) -> SpecField:
    # `null` is left to an empty control.
    shape = next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), schema)
    kind = _kind(shape)
    choices = tuple(shape.get("enum", ("true", "false") if shape.get("type") == "boolean" else ()))
    default = schema.get("default")
    return SpecField(
        name=name,
        label=name.rpartition(".")[2].replace("_", " "),
        says=schema.get("description", "").replace("null:", "Empty:"),
        kind=kind,
        choices=choices,
        attributes=_attributes(shape, kind),
        bounds=_bounds(shape),
        empty="" if default in (None, [], {}) else _text(default, kind),
        value="" if value is None else _text(value, kind),
    )


def _kind(shape: Mapping[str, Any]) -> Literal["choice", "number", "text", "lines", "pairs"]:
    if "enum" in shape or shape.get("type") == "boolean":
        return "choice"
    if shape.get("type") in ("integer", "number"):
        return "number"
    return "lines" if shape.get("type") == "array" else "pairs" if shape.get("type") == "object" else "text"


def _attributes(shape: Mapping[str, Any], kind: str) -> dict[str, str]:
    found = {attribute: _text(shape[name], kind) for name, attribute in _ATTRIBUTES if name in shape}
    if kind == "number":
        found["step"] = str(shape.get("multipleOf", 1 if shape["type"] == "integer" else "any"))
    return found


def _bounds(shape: Mapping[str, Any]) -> str:
    """`1 to 4,096`, `Above 0, up to 10`."""
    low, over, high, under = (shape.get(k) for k in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"))
    to = f"{high:,}" if high is not None else f"{under:,}" if under is not None else ""
    if low is not None:
        return f"{low:,} to {'below ' if under is not None else ''}{to}"
    return f"Above {over:,}, up to {to}" if over is not None else ""


def _text(value: Any, kind: str) -> str:
    """A value as its control shows it."""
    if kind == "lines":
        return "\n".join(value)
    if kind == "pairs":
        return "\n".join(f"{key}={text}" for key, text in value.items())
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) and value == float(f"{value:g}") else str(value)
