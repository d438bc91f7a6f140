"""Logs: events with ids, one a line, on standard error; JSON unless a person is watching.

Only the command that starts a process calls `configure`. An application that mounts ours keeps
its own configuration of structlog, whatever that is.
"""

import logging
import sys
import traceback

import structlog
from structlog.typing import FilteringBoundLogger


def configure(level: str) -> None:
    """Set up logging for this process; `level` is debug, info, warning or error."""
    is_watched = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if is_watched else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def log_exception(log: FilteringBoundLogger, event: str, **ids: object) -> None:
    """Log the exception that is being handled, as an error with its traceback as plain text.

    `log.exception` is not used: how it renders a traceback is up to the configuration, and the
    default of structlog shows local variables, keys and bodies among them.
    """
    log.error(event, exception=traceback.format_exc(), **ids)
