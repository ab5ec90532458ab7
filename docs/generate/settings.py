"""`reference/settings.md`: every environment variable, from `services.settings`, and those that others read."""

import json
from pathlib import Path
from typing import Any

from docs.generate.fields import limits_of
from docs.generate.markdown import code, table
from services.settings import Settings

_CLIENT = (
    ("UNROLL_URL", "Address of the server; unset: that of the service which runs on `UNROLL_HOME`."),
    ("UNROLL_API_KEY", "API key to send."),
    (
        "UNROLL_API_KEY_FILE",
        "File with the key; neither is set: `$UNROLL_HOME/api_key`, for this machine's own server.",
    ),
)
_OTHERS = (
    ("REDIS_URL", "see above", "`redis://`, `rediss://` or `unix://`."),
    ("AWS_*, FSSPEC_*", "boto, fsspec", "Access to a storage elsewhere; the dispatcher hands them to the trainers."),
    ("RAY_AUTH_MODE, RAY_AUTH_TOKEN_PATH", "Ray", "`unroll up` sets them; on a cluster every process needs them."),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "OpenTelemetry", "Where traces are sent; unset: none are made."),
    ("OTEL_SERVICE_NAME", "OpenTelemetry", "The name they are sent under; unset: that of the process."),
    ("UNROLL_TORCH_INDEX", "`make setup`", "Package index for torch, such as one with builds for CPUs alone."),
)
_PAGE = """\
# Settings

All settings are environment variables, read once when a process starts. What is out of its limits is refused by its name,
and the process does not start. Processes of one installation must agree on `UNROLL_STORAGE`, the secret, and `REDIS_URL`.

## Of the service

{service}
## Of the client and the command line

{client}
## Read by others

{others}"""


def settings_page() -> str:
    schema = Settings.model_json_schema(by_alias=True)["properties"]
    rows = [(code(name), _default(field), _limits(field), field["description"]) for name, field in schema.items()]
    return _PAGE.format(
        service=table(("variable", "default", "limits", "what"), rows),
        client=table(("variable", "what"), [(code(name), said) for name, said in _CLIENT]),
        others=table(
            ("variable", "read by", "what"),
            [(", ".join(map(code, names.split(", "))), who, said) for names, who, said in _OTHERS],
        ),
    )


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    if value is None or value == []:
        return "unset"
    return code(value if isinstance(value, str | Path) else json.dumps(value))


def _limits(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " or ".join(map(code, field["enum"]))
    return limits_of(field)
