"""The fields of a JobSpec that can be searched, with their bounds, as its schema has them. Knows no form."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

from rnncore.spec import JobSpec

_SECTIONS = ("model", "train", "resources")
_NOT_SEARCHED = (
    *("dataset", "validation_dataset", "name", "verify_of", "retry_of", "metadata", "task", "init_from"),
    "train.sample_prompts",
)


class SpecField(NamedTuple):
    """One field. `choices` as JSON texts, where it has few values; else a number between the bounds that it has."""

    path: str
    kind: Literal["whole", "number", "choice"]
    about: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    default: str

    @property
    def is_log(self) -> bool:
        """Whether its order of magnitude is what matters."""
        return self.path in ("train.learning_rate", "train.weight_decay", "train.gradient_clip_norm")


@cache
def searchable() -> tuple[SpecField, ...]:
    """By their place in the JobSpec, the sections first."""
    schema = JobSpec.model_json_schema()
    found = sorted(_fields(schema), key=lambda field: "." not in field.path)
    return tuple(field for field in found if field.path not in _NOT_SEARCHED)


def _fields(schema: Mapping[str, Any]) -> Iterator[SpecField]:
    for name, about in schema["properties"].items():
        if name in _SECTIONS:
            section = schema["$defs"][about["$ref"].rpartition("/")[2]]
            for field, inner in section["properties"].items():
                if found := _field(f"{name}.{field}", inner):
                    yield found
        elif found := _field(name, about):
            yield found


def _field(path: str, about: Mapping[str, Any]) -> SpecField | None:
    types = [about, *about.get("anyOf", ())]
    texts = about.get("description", ""), _text(about.get("default"))
    for one in types:
        if "enum" in one:
            return SpecField(path, "choice", texts[0], None, None, tuple(map(str, one["enum"])), texts[1])
        if one.get("type") == "boolean":
            return SpecField(path, "choice", texts[0], None, None, ("true", "false"), texts[1])
        if one.get("type") in ("integer", "number"):
            low = one.get("minimum", one.get("exclusiveMinimum"))
            high = one.get("maximum", one.get("exclusiveMaximum"))
            kind: Literal["whole", "number"] = "whole" if one["type"] == "integer" else "number"
            return SpecField(path, kind, texts[0], low, high, (), texts[1])
    return None


def _text(default: object) -> str:
    if default is None:
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)
