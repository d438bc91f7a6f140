"""Logs: one event per line on standard error, as JSON or, on a terminal, as text.

Only the command that starts a process calls `configure_logs`. An application that mounts Batchway
keeps its own configuration of structlog.
"""

import logging
import sys
import traceback

import structlog
from structlog.typing import FilteringBoundLogger


def configure_logs(level: str) -> None:
    """Set up logging for this process; `level` is debug, info, warning or error."""
    is_terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if is_terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def log_exception(log: FilteringBoundLogger, event: str, **ids: object) -> None:
    """Log the exception that is being handled, as an error with its traceback as plain text.

    `log.exception` is not used, because the default configuration of structlog prints local
    variables, which may contain keys and bodies.
    """
    log.error(event, exception=traceback.format_exc(), **ids)
