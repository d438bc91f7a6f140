"""Items that arrive while a set runs are the next set; nothing waits for company."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from batchway.surfaces.gathering import Gatherer

SECONDS_MAX = 60

Task = asyncio.Task[str]


class Broken(Exception):
    """The error of a set."""


@dataclass
class Sets:
    """Runs sets, which wait until `go_on` is set; `run_sets` has what was run."""

    run_sets: list[tuple[str, list[int]]] = field(default_factory=list)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    go_on: threading.Event = field(default_factory=threading.Event)

    def run(self, key: str, items: Sequence[int]) -> list[str]:
        """Answer each item with the key and the item; 13 breaks its set."""
        self.run_sets.append((key, list(items)))
        self.begun.release()
        assert self.go_on.wait(SECONDS_MAX)
        if 13 in items:
            raise Broken
        return [f"{key}{item}" for item in items]


def run_scenario(
    scenario: Callable[[Gatherer[str, int, str], Sets], Awaitable[None]], set_max: int = 100
) -> list[tuple[str, list[int]]]:
    """Run a scenario, and return the sets that were run."""
    sets = Sets()

    async def limit_time() -> None:
        async with asyncio.timeout(SECONDS_MAX):
            await scenario(Gatherer(sets.run, set_max), sets)

    try:
        asyncio.run(limit_time())
    finally:
        sets.go_on.set()
    return sets.run_sets


async def begin(gatherer: Gatherer[str, int, str], *items: int, key: str = "a") -> list[Task]:
    """Ask for the items, and return when all of them wait or run."""
    tasks = [asyncio.create_task(gatherer.answer(key, item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def begin_set(
    gatherer: Gatherer[str, int, str], sets: Sets, *items: int, key: str = "a"
) -> list[Task]:
    """Ask for the items, and return when a new set runs in its thread."""
    tasks = await begin(gatherer, *items, key=key)
    assert await asyncio.to_thread(sets.begun.acquire, timeout=SECONDS_MAX)
    return tasks


def test_items_that_arrive_while_a_set_runs() -> None:
    """The first item runs alone at once; those that arrive meanwhile are one set, in order."""

    async def scenario(gatherer: Gatherer[str, int, str], sets: Sets) -> None:
        first = await begin_set(gatherer, sets, 1)
        later = await begin(gatherer, 2, 3, 4)
        sets.go_on.set()
        assert ["a1", "a2", "a3", "a4"] == await asyncio.gather(*first, *later)

    assert [("a", [1]), ("a", [2, 3, 4])] == run_scenario(scenario)


def test_items_with_different_keys() -> None:
    """Items with another key are never in the same set, and do not wait for it."""

    async def scenario(gatherer: Gatherer[str, int, str], sets: Sets) -> None:
        first = await begin_set(gatherer, sets, 1)
        other = await begin_set(gatherer, sets, 2, key="b")
        sets.go_on.set()
        assert ["a1", "b2"] == await asyncio.gather(*first, *other)

    assert [("a", [1]), ("b", [2])] == run_scenario(scenario)


def test_sets_have_a_maximum() -> None:
    """More items than a set may have are several sets."""

    async def scenario(gatherer: Gatherer[str, int, str], sets: Sets) -> None:
        first = await begin_set(gatherer, sets, 1)
        later = await begin(gatherer, 2, 3, 4, 5, 6)
        sets.go_on.set()
        await asyncio.gather(*first, *later)

    assert [[1], [2, 3], [4, 5], [6]] == [items for _, items in run_scenario(scenario, set_max=2)]


def test_an_error_is_that_of_its_set() -> None:
    """All items of a set get its error, also if a caller is gone; the next set runs."""

    async def scenario(gatherer: Gatherer[str, int, str], sets: Sets) -> None:
        first = await begin_set(gatherer, sets, 1)
        gone, *broken = await begin(gatherer, 11, 12, 13)
        gone.cancel()
        await asyncio.sleep(0)
        sets.go_on.set()
        assert ["a1"] == await asyncio.gather(*first)
        for task in broken:
            with pytest.raises(Broken):
                await task
        assert "a4" == await gatherer.answer("a", 4)

    assert [[1], [11, 12, 13], [4]] == [items for _, items in run_scenario(scenario)]


def test_too_few_answers_are_an_error() -> None:
    """A set whose answers are not one for each item fails, instead of never ending."""

    async def scenario() -> None:
        gatherer: Gatherer[str, int, str] = Gatherer(lambda _key, _items: [], 10)
        async with asyncio.timeout(SECONDS_MAX):
            with pytest.raises(ValueError, match="shorter"):
                await gatherer.answer("a", 1)

    asyncio.run(scenario())


def test_a_caller_that_goes_away() -> None:
    """The item of a cancelled caller is run; the others of its set get their answers."""

    async def scenario(gatherer: Gatherer[str, int, str], sets: Sets) -> None:
        first = await begin_set(gatherer, sets, 1)
        later = await begin(gatherer, 2, 3)
        for task in (*first, later[0]):
            task.cancel()
        await asyncio.sleep(0)
        sets.go_on.set()
        assert "a3" == await later[1]
        assert [True, True] == [task.cancelled() for task in (*first, later[0])]
        assert "a4" == await gatherer.answer("a", 4)

    assert [[1], [2, 3], [4]] == [items for _, items in run_scenario(scenario)]
