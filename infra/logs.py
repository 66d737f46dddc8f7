"""Logs: one JSON line per event on stdout, of ours and of the libraries alike, and no persons in it.

Callers use the standard library: `log.info("batch_settled", extra={"claims": 50})`, an event and its fields.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

HIDDEN = "***"

PRIVATE = frozenset(
    {
        "api_key", "args", "authorization", "body", "certno", "citizen_id_no", "envelope", "gmsfhm",
        "kwargs", "password", "payload", "person_name", "psn_name", "secret", "token", "xm",
    }
)  # fmt: skip
"""Fields that are never written, whatever they hold."""

_IDENTITY_NUMBER = re.compile(r"(?<![0-9A-Za-z])(?:[0-9T][0-9]{16}[0-9Xx]|[0-9]{15})(?![0-9A-Za-z])", re.ASCII)

# Celery says these of every message, broker address or arguments included; our own events say what counts.
_TALKATIVE = ("amqp", "celery.beat", "celery.worker.strategy", "httpcore", "httpx", "kombu")


def setup(service: str, level: str = "INFO", *, stream: TextIO | None = None) -> None:
    """Write every event of this process as one JSON line: `ts level event service version` and its fields."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(formatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)


def formatter(service: str) -> logging.Formatter:
    """How a record becomes a line."""
    release = version("jiesuan")

    def named(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        event["version"] = release
        return event

    before: list[Callable[..., Any]] = [
        structlog.stdlib.ExtraAdder(),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        named,
        without_private_fields,
    ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(ensure_ascii=False, default=_type_only),
            without_identity_numbers,  # type: ignore[list-item]  # after the renderer it is text that passes
        ],
    )


def without_private_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hide the fields that are never written, at any depth."""
    return {name: HIDDEN if name.lower() in PRIVATE else _shown(value) for name, value in event.items()}


def without_identity_numbers(_logger: WrappedLogger, _method: str, line: str) -> str:
    """The last safety net: whatever has the form of an identity number is hidden, also in a traceback."""
    return hide_identity_numbers(line)


def hide_identity_numbers(text: str) -> str:
    """The text with every number of 15 digits, or of 17 and a check character, hidden."""
    return _IDENTITY_NUMBER.sub(HIDDEN, text)


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: HIDDEN if str(name).lower() in PRIVATE else _shown(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(inner) for inner in value]
    if isinstance(value, int) and hide_identity_numbers(str(value)) == HIDDEN:
        return HIDDEN
    return value


def _type_only(value: Any) -> str:
    """An object that is not a plain value says what it is, never what it holds."""
    return f"<{type(value).__name__}>"
