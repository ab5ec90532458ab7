"""`reference/api.md`: every route with its parameters, bodies, answers and errors, from the OpenAPI document."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from docs.generate.fields import fields_table, limits_of, type_of
from docs.generate.markdown import anchor, code, table

# Their fields stand on pages of their own.
_ELSEWHERE = {
    **dict.fromkeys(("JobSpec", "ModelSpec", "TrainSpec", "ResourcesSpec"), "job.md"),
    **dict.fromkeys(
        ("SweepSpec", "Range", "Choices", "SearchSpec", "ObjectiveSpec", "SweepBudget", "SuccessiveHalving"), "sweep.md"
    ),
}
# One row each; they say nothing that their routes do not say.
_PLAIN = ("Page_", "Deleted")
_PAGE = """\
# HTTP API

`GET /openapi.json` is the same as a document for machines. Every request but those to `/healthz` and `/readyz` carries a key:
`Authorization: Bearer KEY`. Bodies are JSON unless it says otherwise; a field that is not listed is refused by its name. Errors
have one shape: [Errors](errors.md). 401, 422 and 503 can come from every route.

Lists answer `{{"object": "list", "data": [...], "has_more": ..., "first_id": ..., "last_id": ...}}`; `after=<last_id>` asks for the
next page. A `POST` with an `Idempotency-Key` that was seen before answers what the first one made.

{routes}
## Objects

{objects}"""


def api_page(document: dict[str, Any]) -> str:
    schemas = document["components"]["schemas"]
    routes = list(_operations(document))
    parts = []
    for tag, group in groupby(routes, key=lambda route: route[2]["tags"][0]):
        parts.append(f"## {_HEADINGS.get(tag, tag.capitalize())}\n")
        parts += [_route(method, path, operation) for method, path, operation in group]
    objects = [
        f"### {_short(name)}\n\n{_said(schema)}\n\n{_object(schema)}"
        for name, schema in sorted(schemas.items(), key=lambda item: _short(item[0]))
        if name not in _ELSEWHERE and not name.startswith(_PLAIN) and name not in _twins(schemas)
    ]
    return _PAGE.format(routes="\n".join(parts), objects="\n".join(objects))


_HEADINGS = {"openai": "OpenAI's own routes", "completions": "Completions, predictions, inspection"}


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _route(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [f"### `{method} {path}`\n", f"{' '.join(operation['description'].split())}\n"]
    asked = [
        (code(one["name"]), one["in"], type_of(one["schema"], _link), _default(one), limits_of(one["schema"]),
         one.get("description") or one["schema"].get("description", ""))
        for one in operation.get("parameters", ())
        if one["in"] != "path"
    ]  # fmt: skip
    if asked:
        parts.append(table(("parameter", "in", "type", "default", "limits", "what"), asked))
    bodies = operation.get("requestBody", {}).get("content", {})
    if bodies:
        parts.append(f"Body: {'; or '.join(_body(kind, content) for kind, content in bodies.items())}.\n")
    answers, refusals = [], []
    for status, answer in operation["responses"].items():
        if status >= "400":
            refusals.append(status)
        else:
            answers += [_body(kind, content) for kind, content in answer.get("content", {}).items()]
    said = f"Answers {'; or '.join(answers)}." if answers else ""
    own = sorted(set(refusals) - {"401", "422", "503"})
    parts.append(said + (f" Refuses with {', '.join(own)}." if own else "") + "\n")
    return "\n".join(parts)


def _body(kind: str, content: dict[str, Any]) -> str:
    schema = content.get("schema", {})
    said = type_of(schema, _link) if schema else "bytes"
    if kind == "multipart/form-data":
        said = "a form with " + ", ".join(map(code, schema.get("properties", {})))
    return said if kind == "application/json" else f"{said} (`{kind}`)"


def _default(parameter: dict[str, Any]) -> str:
    if parameter.get("required"):
        return "required"
    default = parameter["schema"].get("default")
    return "" if default is None else code(default)


def _object(schema: dict[str, Any]) -> str:
    if "properties" in schema:
        return fields_table(schema, _link)
    return f"{type_of({key: value for key, value in schema.items() if key != 'description'}, _link)}\n"


def _link(name: str) -> str:
    if name.startswith("Page_"):
        kind = name.removeprefix("Page_").removesuffix("_")
        return f"a list of {'objects' if kind.startswith('dict') else _link(kind)}"
    if name == "Deleted":
        return "`{id, object, deleted}`"
    page = _ELSEWHERE.get(name, "")
    return f"[{_short(name)}]({page}#{anchor(_short(name))})" if not page else f"[{name}]({page})"


def _short(name: str) -> str:
    """FastAPI writes the module before the name of one of two classes that are called the same."""
    *modules, name = name.split("__")
    return f"{name} ({modules[-1]})" if modules else name


def _twins(schemas: dict[str, Any]) -> set[str]:
    return {name for name in schemas if name in ("ErrorAnswer", "ErrorDetail")}


def _said(schema: dict[str, Any]) -> str:
    return " ".join(str(schema.get("description", "")).split())
