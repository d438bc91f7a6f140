"""A call that comes alone and the same call as an operation of a batch are the same thing.

Random calls are made twice, in two accounts that begin alike: one by one, and as a batch or as
several chunks. Statuses, bytes and what is stored at the end must agree. What may differ is named
alike before it is compared: the ids that are random or come from a sequence. The single calls are
made in the order that a batch documents (`as_in_a_batch`), so that reads of collections, which
come after the calls on members around them, are compared as strictly as all else. What a batch
pages through is asked for with a `count` in the single call, and counted. Operations that only a
batch refuses are left out of the single calls: they must change nothing.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise, zip_longest

from hypothesis import given, settings
from hypothesis import strategies as st

from batchway.kit.clock import SECOND
from tests.properties.calls import Call, sequences
from tests.properties.conftest import Places
from tests.properties.world import NOW, Answered, World, shown

_MINUTE = 60 * SECOND
_EXAMPLES = settings().max_examples

calls_of_a_batch = sequences()
# Where a sequence is cut into chunks, and whether each of them meets others on its way.
cuts = st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=4)


@settings(max_examples=_EXAMPLES // 2)
@given(calls_of_a_batch)
def test_one_batch_on_sqlite(sqlite_places: Places, calls: list[Call]) -> None:
    """A batch, from its request to its archive, is the single calls."""
    compare_batch(sqlite_places, calls)


@settings(max_examples=_EXAMPLES // 4)
@given(calls_of_a_batch)
def test_one_batch_on_postgres(postgres_places: Places, calls: list[Call]) -> None:
    """The same on PostgreSQL."""
    compare_batch(postgres_places, calls)


@settings(max_examples=_EXAMPLES // 2)
@given(calls_of_a_batch, cuts)
def test_chunks_on_sqlite(
    sqlite_places: Places, calls: list[Call], cuts: list[tuple[int, bool]]
) -> None:
    """Chunks of any size, one after the other, are the single calls."""
    compare_chunks(sqlite_places, calls, cuts)


@settings(max_examples=_EXAMPLES // 4)
@given(calls_of_a_batch, cuts)
def test_chunks_on_postgres(
    postgres_places: Places, calls: list[Call], cuts: list[tuple[int, bool]]
) -> None:
    """The same on PostgreSQL."""
    compare_chunks(postgres_places, calls, cuts)


def compare_batch(places: Places, calls: list[Call]) -> None:
    """The calls alone, and as one batch."""
    compare(
        places,
        lambda world: world.answer_alone(calls, NOW, pages=True),
        lambda world: world.answer_as_batch(calls, NOW),
    )


def compare_chunks(places: Places, calls: list[Call], cuts: list[tuple[int, bool]]) -> None:
    """The calls alone, and in chunks; each chunk comes a minute later than the one before."""
    borders = [0, *sorted(min(cut, len(calls)) for cut, _ in cuts), len(calls)]
    chunks = [calls[start:end] for start, end in pairwise(borders)]
    crowds = [is_crowded for _, is_crowded in cuts] + [False]
    compare(
        places,
        lambda world: [
            answered
            for number, chunk in enumerate(chunks)
            for answered in world.answer_alone(chunk, NOW + number * _MINUTE, pages=True)
        ],
        lambda world: [
            answered
            for number, (chunk, is_crowded) in enumerate(zip(chunks, crowds, strict=True))
            for answered in world.answer_as_chunk(
                chunk, NOW + number * _MINUTE, is_crowded=is_crowded
            )
        ],
    )


def compare(
    places: Places,
    one_way: Callable[[World], Sequence[Answered]],
    other_way: Callable[[World], Sequence[Answered]],
) -> None:
    """Two ways to make the same calls end in the same answers and the same state."""
    first, second = (World(place) for place in places)
    ones, others = one_way(first), other_way(second)

    assert [] == [answer for answer in ones if answer.status >= 500]
    pairs = zip_longest(shown(first, ones), shown(second, others))
    assert [] == [(one, other) for one, other in pairs if one != other]
    first.assert_sound()
    second.assert_sound()
