"""Work that blocks, off the event loop."""

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

T = TypeVar("T")
Turns = CapacityLimiter  # how many works of a kind are done at once


async def in_thread(work: Callable[[], T], turns: Turns | None = None) -> T:
    """The outcome of some work in a thread. If the caller is cancelled, it goes on unheard."""
    return await to_thread.run_sync(work, abandon_on_cancel=True, limiter=turns)
