"""Writes the events that report facts to the log, at the level `info`."""

from collections.abc import Mapping

import structlog

from batchway.observers.base import Event, Field

log = structlog.get_logger(__name__)


class LogObserver:
    """Writes one line for each event that is not a fault point."""

    def observe(self, event: Event, fields: Mapping[str, Field]) -> None:
        """Write the event's name and its fields."""
        if not event.is_fault_point:
            log.info(event.value, **fields)
