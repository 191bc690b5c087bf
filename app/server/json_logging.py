"""Owns how log lines look: one JSON object a line on stdout."""

from __future__ import annotations

import logging
import logging.config
import traceback
from types import TracebackType

from pythonjsonlogger.json import JsonFormatter

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class RedactingJsonFormatter(JsonFormatter):
    """JSON lines whose tracebacks name types and places but not messages.

    An exception's text may quote the value it stumbled over, which here may be a prompt or a picture.
    """

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 (logging's own name)
        return describe_exception(ei[1])


def describe_exception(error: BaseException | None) -> str:
    """The chain of causes, each as its type and the places it passed, without its message."""
    parts: list[str] = []
    while error is not None and len(parts) < 10:
        places = "".join(traceback.format_tb(error.__traceback__))
        parts.append(f"{places}{type(error).__module__}.{type(error).__qualname__}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\ncaused by:\n".join(parts)


def configure_logging(level: str) -> None:
    """Sends everything at `level` and above to stdout. Called by the entry point, never by `create_app`."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "json": {
                    "()": RedactingJsonFormatter,
                    "fmt": "%(levelname)s %(name)s %(message)s",
                    "rename_fields": {"levelname": "level", "name": "logger"},
                    "timestamp": "time",
                }
            },
            "handlers": {
                "stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}
            },
            "root": {"level": level, "handlers": ["stdout"]},
            # Its warning about an answer with broken headers quotes what followed them.
            "loggers": {
                "urllib3.connection": {"level": "ERROR"},
                "alembic": {"level": "WARNING"},  # it tells each start which plugins it has
            },
        }
    )
