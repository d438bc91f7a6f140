"""A single call and the same call as an operation of a batch have the same effect.

Random calls are made in two accounts that begin alike: one by one, and as a batch or as several
chunks. Statuses, bytes and the final rows must be equal. Ids that are random or come from a
sequence are replaced by names first. The single calls are made in the order that a batch documents
(`as_in_a_batch`), so that reads of collections, which come after the calls on members around them,
are compared exactly, too. For a paged GET, the single call has a `count`, and its items are
counted. Operations that only a batch refuses are left out of the single calls: they must change
nothing.
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
    """A batch, from its request to its archive, equals the single calls."""
    compare_batch(sqlite_places, calls)


@settings(max_examples=_EXAMPLES // 4)
@given(calls_of_a_batch)
def test_one_batch_on_postgres(postgres_places: Places, calls: list[Call]) -> None:
    """A batch equals the single calls on PostgreSQL."""
    compare_batch(postgres_places, calls)


@settings(max_examples=_EXAMPLES // 2)
@given(calls_of_a_batch, cuts)
def test_chunks_on_sqlite(
    sqlite_places: Places, calls: list[Call], cuts: list[tuple[int, bool]]
) -> None:
    """Chunks of any size, one after the other, equal the single calls."""
    compare_chunks(sqlite_places, calls, cuts)


@settings(max_examples=_EXAMPLES // 4)
@given(calls_of_a_batch, cuts)
def test_chunks_on_postgres(
    postgres_places: Places, calls: list[Call], cuts: list[tuple[int, bool]]
) -> None:
    """Chunks equal the single calls on PostgreSQL."""
    compare_chunks(postgres_places, calls, cuts)


def compare_batch(places: Places, calls: list[Call]) -> None:
    """Make the calls alone and as one batch, and compare."""
    compare(
        places,
        lambda world: world.answer_alone(calls, NOW, pages=True),
        lambda world: world.answer_as_batch(calls, NOW),
    )


def compare_chunks(places: Places, calls: list[Call], cuts: list[tuple[int, bool]]) -> None:
    """Make the calls alone and in chunks, one minute apart, and compare."""
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
    """Check that two ways to make the same calls have the same answers and final state."""
    first, second = (World(place) for place in places)
    ones, others = one_way(first), other_way(second)

    assert [] == [answer for answer in ones if answer.status >= 500]
    pairs = zip_longest(shown(first, ones), shown(second, others))
    assert [] == [(one, other) for one, other in pairs if one != other]
    first.assert_sound()
    second.assert_sound()
