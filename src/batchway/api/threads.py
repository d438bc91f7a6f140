"""Work that blocks, off the event loop."""

from collections.abc import Callable
from typing import TypeVar

from anyio import to_thread

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """The outcome of some work in a thread. If the caller is cancelled, it goes on unheard."""
    return await to_thread.run_sync(work, abandon_on_cancel=True)
