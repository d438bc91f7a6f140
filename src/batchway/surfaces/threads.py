"""Runs blocking functions in threads, outside of the event loop."""

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

T = TypeVar("T")
ThreadLimit = CapacityLimiter  # the number of functions of one kind that run at the same time


async def run_in_thread(function: Callable[[], T], limit: ThreadLimit | None = None) -> T:
    """Run a function in a thread, and return its result.

    If the caller is cancelled, the function continues, and its result is dropped.
    """
    return await to_thread.run_sync(function, abandon_on_cancel=True, limiter=limit)
