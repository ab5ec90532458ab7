"""Log lines of every process of the server: JSON, one a line, with the request and the job they are about."""

import logging
import re
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

# API keys, webhook secrets, bearer tokens, passwords in URLs: whatever brings them here, they go no further.
_SECRETS = re.compile(
    r"\bunroll-[A-Za-z0-9_-]{16,}|\bwhsec_[A-Za-z0-9+/=]{8,}|(?i:\bbearer\s+)[^\s\"',]+|(?<=://)[^/\s@]*:[^/\s@]*(?=@)"
)
_HIDDEN = "[hidden]"
_SECRET_NAMES = ("authorization", "cookie", "password", "secret", "api_key", "csrf")


def configure_logs() -> None:
    """Has structlog and the standard library's loggers write the same lines to standard error."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.format_exc_info,
        hide_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),  # escapes what a terminal would obey: one event stays one line
            ],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for talkative in ("httpx", "httpcore"):
        logging.getLogger(talkative).setLevel(logging.WARNING)


def hide_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Puts a word in the place of every secret in `event`, by its name or by its looks."""
    return {name: _HIDDEN if name.lower() in _SECRET_NAMES else _hidden(value) for name, value in event.items()}


def _hidden(value: Any) -> Any:
    return _SECRETS.sub(_HIDDEN, value) if isinstance(value, str) else value
