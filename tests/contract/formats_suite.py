"""Tests for every results format. The test class of a format inherits this and makes the format."""

import io
import json
import random
import tarfile
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import pytest

from batchway.formats.base import Entry, Format, PackedSegment
from batchway.kit.json_text import RenderedJson
from batchway.model.batch import Batch, Status
from batchway.model.operation import Operation
from batchway.model.positions import Positions
from batchway.model.result import Result
from batchway.model.segment import Segment, SegmentKey

BATCH = Batch(
    id=7,
    account_id=1,
    public_id="0fa66de115",
    api_key_id=1,
    base_url="",
    status=Status.FINALIZING,
    total_operations=0,
    finished_operations=0,
    errored_operations=0,
    chunk_count=0,
    chunks_left=0,
    submitted_at=1_790_000_000_000_000,
    completed_at=None,
    archive_key=None,
    is_held=False,
    operation_count=0,
    is_cancelling=False,
    format_name="",
    retry_of=None,
    began_at=None,
    target="audience",
)

METHODS = ["GET", "POST", "DELETE"]
TEXTS = ["", "crm-1", "é", '"', "\n", "😀", "x" * 300]

Answers = list[tuple[Operation, list[tuple[int, dict[str, str]]]]]
# Not Hypothesis: it refuses a property that two classes inherit.
any_batch = pytest.mark.parametrize("seed", range(30))


class FormatSuite:
    """What every results format must do."""

    @pytest.fixture
    def results_format(self) -> Format:
        """The format. The test class makes it."""
        raise NotImplementedError

    @any_batch
    def test_every_result_is_read_back_from_its_segment(
        self, results_format: Format, seed: int
    ) -> None:
        """Results that were packed in any parts are in the archive once each."""
        choice = random.Random(seed)
        entries = make_entries(make_answers(choice))
        packs = pack_in_parts(results_format, entries, choice)

        archive, places = join_parts(results_format, packs)

        found = [
            (position, page, result.status_code, result.response)
            for key, packed in packs
            for position, page, result in results_format.read_segment(
                BATCH,
                packed.kind,
                archive[slice(*places[key])],
                {entry.position: entry.operation for entry in packed.entries},
            )
        ]
        assert sorted(map(describe_entry, entries)) == sorted(found)

    @any_batch
    def test_archive_holds_every_result(self, results_format: Format, seed: int) -> None:
        """A tar reader and a JSON reader find all results, whatever the segments were."""
        choice = random.Random(seed)
        entries = make_entries(make_answers(choice))

        archive, _ = join_parts(results_format, pack_in_parts(results_format, entries, choice))

        expected = [
            (entry.result.status_code, entry.operation.operation_id, entry.result.body.render())
            for entry in entries
        ]
        assert sorted(map(repr, expected)) == sorted(map(repr, read_tar(archive)))

    @any_batch
    def test_same_results_make_the_same_bytes(self, results_format: Format, seed: int) -> None:
        """A step that runs twice writes the same segments and the same archive."""
        entries = make_entries([(make_delete(), [(404, {})]), *make_answers(random.Random(seed))])

        once, twice = (results_format.pack_results(BATCH, entries) for _ in range(2))

        assert once == twice
        assert join_parts(results_format, make_keys([once])) == join_parts(
            results_format, make_keys([twice])
        )

    def test_segments_are_loaded_one_at_a_time(self, results_format: Format) -> None:
        """Joining has one segment in memory, and does not change its bytes."""
        entries = make_entries([(make_delete(), [(200, {})]) for _ in range(3)])
        packs = make_keys([results_format.pack_results(BATCH, [entry]) for entry in entries])
        segments = {key.chunk_number: packed.segment for key, packed in packs}
        loaded: list[int] = []

        def load(key: SegmentKey) -> Segment:
            loaded.append(key.chunk_number)
            return segments[key.chunk_number]

        passed: list[int] = []
        for key, data in results_format.join_segments(BATCH, [key for key, _ in packs], load):
            if key is not None:
                passed.append(key.chunk_number)
                assert segments[key.chunk_number].data == data
                assert passed == loaded

        assert [0, 1, 2] == passed

    def test_body_that_cannot_be_rendered_is_passed_on(self, results_format: Format) -> None:
        """The error of a body that cannot be rendered reaches the caller."""
        result = Result(200, RenderedJson(b"\xff"))

        with pytest.raises(UnicodeDecodeError):
            results_format.pack_results(BATCH, [Entry(0, 0, make_delete(), result)])

    def test_damaged_segment_is_refused(self, results_format: Format) -> None:
        """Half of a segment is an error, and not fewer results."""
        answers = [(make_delete(), [(200, {"a": str(number) * 300})]) for number in range(500)]
        [packed] = results_format.pack_results(BATCH, make_entries(answers))
        operations = {entry.position: entry.operation for entry in packed.entries}
        half = packed.segment.data[: len(packed.segment.data) // 2]

        with pytest.raises(ValueError, match=r"ends within|damaged|not the USTAR header"):
            list(results_format.read_segment(BATCH, packed.kind, half, operations))


# --- Helpers --------------------------------------------------------------------------------------

Packs = Sequence[tuple[SegmentKey, PackedSegment]]


def make_delete() -> Operation:
    """Return an operation with one result."""
    return Operation("DELETE", "/lists/1", {}, None, "crm")


def make_answers(choice: random.Random) -> Answers:
    """Return random operations with their answers; GETs may have several pages."""
    return [
        (
            Operation(choice.choice(METHODS), "/lists", {}, None, choice.choice([None, *TEXTS])),
            [
                (choice.choice([200, 404]), {"a": choice.choice(TEXTS)})
                for _ in range(choice.randint(1, 3))
            ],
        )
        for _ in range(choice.randrange(12))
    ]


def make_entries(answers: Answers) -> list[Entry]:
    """Return the results in the order of their positions, which are not consecutive."""
    return [
        Entry(3 * number, page, operation, Result.from_bytes(status, json.dumps(body).encode()))
        for number, (operation, pages) in enumerate(answers)
        for page, (status, body) in enumerate(pages)
        if page == 0 or operation.method == "GET"
    ]


def pack_in_parts(results_format: Format, entries: Sequence[Entry], choice: random.Random) -> Packs:
    """Pack the results in random parts, and further pages of a GET separately, as steps do."""
    first, further = ([entry for entry in entries if bool(entry.page) == flag] for flag in (0, 1))
    parts: dict[object, list[Entry]] = {}
    for entry in first:
        parts.setdefault(choice.randrange(3), []).append(entry)
    for entry in further:
        parts.setdefault(("pages", entry.position), []).append(entry)
    return make_keys([results_format.pack_results(BATCH, part) for part in parts.values()])


def make_keys(parts: Sequence[list[PackedSegment]]) -> Packs:
    """Return each segment with its key, in the order of their first results."""
    packs = [
        (make_key(chunk, number, packed), packed)
        for chunk, part in enumerate(parts)
        for number, packed in enumerate(part)
    ]
    return sorted(packs, key=lambda pack: (pack[0].first_position, pack[0].first_page))


def make_key(chunk_number: int, number: int, packed: PackedSegment) -> SegmentKey:
    """Return the key under which the store would keep a segment."""
    return SegmentKey(
        chunk_number=chunk_number,
        number=number,
        kind=packed.kind,
        first_position=packed.entries[0].position,
        positions=Positions.collect(entry.position for entry in packed.entries),
        first_page=packed.entries[0].page,
        result_count=len(packed.entries),
        status_counts=None,
        file_count=packed.segment.file_count,
        raw_bytes=packed.segment.raw_bytes,
        byte_count=len(packed.segment.data),
        crc32=packed.segment.crc32,
        archive_offset=None,
    )


def join_parts(
    results_format: Format, packs: Packs
) -> tuple[bytes, dict[SegmentKey, tuple[int, int]]]:
    """Return the archive, and the place of each segment in it."""
    segments = {key: packed.segment for key, packed in packs}
    joined = list(results_format.join_segments(BATCH, list(segments), segments.__getitem__))
    ends = pairwise(accumulate((len(data) for _, data in joined), initial=0))
    places = {key: place for (key, _), place in zip(joined, ends, strict=True) if key is not None}
    assert segments.keys() == places.keys()
    return b"".join(data for _, data in joined), places


def read_tar(archive: bytes) -> Iterator[tuple[int, str | None, bytes]]:
    """Yield the results in the files of an archive."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for info in tar:
            file = tar.extractfile(info)
            assert file
            for entry in json.load(file):
                yield entry["status_code"], entry["operation_id"], entry["response"].encode()


def describe_entry(entry: Entry) -> tuple[int, int, int, str]:
    """Return what a reader must find of an entry."""
    result = entry.result
    return entry.position, entry.page, result.status_code, result.body.render().decode()
