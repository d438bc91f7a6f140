"""Runs what many requests ask for at the same time together, in one thread."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Generic, TypeVar

from batchway.surfaces.threads import run_in_thread

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Gatherer(Generic[Key, Item, Answer]):
    """Answers items in sets: those that arrive while a set with their key runs are the next set.

    Nothing waits for company: an item is run at once unless a set with its key runs. `run` answers
    the items of a set, in the order in which they arrived. If it raises, all requests of the set
    get the error. It is used only on the event loop, so that it needs no lock.
    """

    def __init__(
        self, run: Callable[[Key, Sequence[Item]], Sequence[Answer]], set_max: int
    ) -> None:
        self._run = run
        self._set_max = set_max
        # The items that wait, by key. A key is there as long as its sets run.
        self._waiting: dict[Key, deque[tuple[Item, asyncio.Future[Answer]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # the event loop does not keep them alive

    async def answer(self, key: Key, item: Item) -> Answer:
        """Return the answer to an item. Items with different keys are never in one set.

        If the caller is cancelled, the item is still run, and its answer is dropped.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append((item, future))
        else:
            self._waiting[key] = deque([(item, future)])
            task = asyncio.create_task(self._run_sets(key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _run_sets(self, key: Key) -> None:
        """Run sets until no item with the key waits."""
        waiting = self._waiting[key]
        try:
            while waiting:
                count = min(len(waiting), self._set_max)
                await self._run_set(key, [waiting.popleft() for _ in range(count)])
        finally:
            del self._waiting[key]

    async def _run_set(
        self, key: Key, some: Sequence[tuple[Item, "asyncio.Future[Answer]"]]
    ) -> None:
        try:
            answers = await run_in_thread(partial(self._run, key, [item for item, _ in some]))
            answered = list(zip(some, answers, strict=True))
        except Exception as error:
            for _, future in some:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in answered:
            if not future.done():
                future.set_result(answer)
