"""The result archive: segments, the joined archive, names and contents of its files."""

import gzip
import io
import json
import random
import subprocess
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import accumulate, chain, pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isal import isal_zlib

from batchway.kit.json_text import RenderedJson, quote_json
from batchway.model.segment import Segment
from batchway.result_archive.container import join_segments
from batchway.result_archive.files import (
    PAGES_MAX,
    POSITIONS_MAX,
    encode_result,
    name_result_file,
    parse_file_name,
)
from batchway.result_archive.segments import SegmentWriter, deflate_text, read_files, read_text
from tests.clients.programs import need

MTIME = 1_790_000_000

texts = st.text(st.characters(exclude_categories=["Cs"]))
contents = st.one_of(
    st.binary(max_size=3_000),
    texts.map(str.encode),
    st.builds(
        lambda size, seed: random.Random(seed).randbytes(size),
        st.integers(0, 300_000),
        st.integers(0, 9),
    ),
    st.integers(0, 300_000).map(lambda size: b'{"email":"ann@example.com"}' * (size // 27)),
)
# What each segment holds.
batches = st.lists(st.lists(contents, max_size=6), max_size=5)


Files = list[tuple[str, bytes]]


def named(batch: list[list[bytes]]) -> list[Files]:
    """Return the files of each segment, each with a different name."""
    return [
        [(name_result_file(7, number, page), content) for page, content in enumerate(files)]
        for number, files in enumerate(batch)
    ]


def segment_of(files: Files) -> Segment:
    """Return one segment with these files."""
    writer = SegmentWriter(mtime_seconds=MTIME)
    for name, content in files:
        writer.add_file(name, content)
    return writer.finish()


def archive_of(segments: Iterable[Segment]) -> bytes:
    """Return the archive of these segments."""
    return b"".join(data for _, data in join_segments(enumerate(segments)))


def inflate_one_member(archive: bytes) -> bytes:
    """Return the tar, if the archive is exactly one gzip member with a valid trailer."""
    member = zlib.decompressobj(wbits=31)
    raw = member.decompress(archive)
    assert (True, b"") == (member.eof, member.unused_data)
    return raw


def tar_files(archive: bytes) -> Files:
    """Return the files that readers of one gzip member and of plain tar find."""
    with tarfile.open(fileobj=io.BytesIO(inflate_one_member(archive)), mode="r:") as tar:
        return [(info.name, file.read()) for info in tar if (file := tar.extractfile(info))]


@settings(max_examples=60)
@given(batches)
def test_archive_holds_the_files_of_its_segments_in_one_member(batch: list[list[bytes]]) -> None:
    """A reader of one gzip member and plain tar finds all files."""
    segments = named(batch)

    archive = archive_of(map(segment_of, segments))

    assert list(chain.from_iterable(segments)) == tar_files(archive)


@settings(max_examples=60)
@given(batches)
def test_any_segment_is_read_alone_at_its_offset(batch: list[list[bytes]]) -> None:
    """The bytes between two offsets of a finished archive are one segment."""
    parts = list(join_segments(enumerate(map(segment_of, named(batch)))))
    archive = b"".join(data for _, data in parts)
    ends = accumulate((len(data) for _, data in parts), initial=0)

    found = [
        list(read_files(archive[start:end]))
        for (start, end), (key, _) in zip(pairwise(ends), parts, strict=True)
        if key is not None
    ]

    assert named(batch) == found


@settings(max_examples=60)
@given(batches)
def test_segment_describes_what_it_holds(batch: list[list[bytes]]) -> None:
    """CRC, size and file count are those of the tar entries, without a final block."""
    for files in named(batch):
        segment = segment_of(files)
        inflater = zlib.decompressobj(wbits=-15)
        raw = inflater.decompress(segment.data)

        assert (zlib.crc32(raw), len(raw)) == (segment.crc32, segment.raw_bytes)
        assert len(files) == segment.file_count
        assert (False, b"") == (inflater.eof, inflater.unused_data)
        assert segment.data.endswith(b"\x00\x00\xff\xff")  # what a flush leaves behind


@settings(max_examples=60)
@given(batches)
def test_one_writer_makes_segments_that_know_nothing_of_each_other(
    batch: list[list[bytes]],
) -> None:
    """The second segment of a writer does not refer back to the first one's bytes."""
    writer = SegmentWriter(mtime_seconds=MTIME)
    for files in named(batch):
        for name, content in files:
            writer.add_file(name, content)
        segment = writer.finish()

        assert files == list(read_files(segment.data))
        assert segment_of(files).crc32 == segment.crc32


def test_segments_are_passed_on_unchanged_and_one_at_a_time() -> None:
    """Joining neither compresses again nor gathers the segments."""
    taken = []

    def segments() -> Iterator[tuple[int, Segment]]:
        for number in range(3):
            taken.append(number)
            yield number, segment_of([(name_result_file(1, number, 0), b"[%d]" % number)])

    expected = [segment_of([(name_result_file(1, n, 0), b"[%d]" % n)]).data for n in range(3)]
    parts = join_segments(segments())
    header_key, _ = next(parts)

    assert ([], None) == (taken, header_key)
    assert (0, expected[0]) == next(parts)
    assert [0] == taken
    assert [(1, expected[1]), (2, expected[2])] == [next(parts), next(parts)]


def test_same_segments_make_the_same_archive() -> None:
    """A step that runs twice writes the same bytes under the same key."""
    segments = [segment_of([("a.json", b"[1]")]), segment_of([("b.json", b"[2]")])]

    assert archive_of(segments) == archive_of(segments)


def test_archive_of_no_segments_is_an_empty_tar() -> None:
    """An archive without segments can be opened."""
    assert [] == tar_files(archive_of([]))


def test_segment_without_files_is_harmless() -> None:
    """An empty segment between others changes nothing."""
    files = [("a.json", b"[1]")]
    archive = archive_of([segment_of([]), segment_of(files), segment_of([])])

    assert files == tar_files(archive)
    assert [] == list(read_files(segment_of([]).data))


def test_size_in_the_trailer_wraps_at_four_gibibytes() -> None:
    """The gzip trailer counts modulo 2**32; a segment's size does not."""
    huge = Segment(data=b"", crc32=0, raw_bytes=2**32 + 2**31 + 512, file_count=1)

    *_, (_, trailer) = join_segments([(1, huge)])

    assert 2**31 + 512 + 1_024 == int.from_bytes(trailer[4:], "little")


def test_archive_begins_with_a_plain_file() -> None:
    """The first header is a USTAR file without a folder and without an extended header."""
    name = name_result_file(1, 0, 0)
    header = inflate_one_member(archive_of([segment_of([(name, b"[1]")])]))[:512]

    assert name.encode() == header[:100].rstrip(b"\0")
    assert (b"0", b"ustar\x0000") == (header[156:157], header[257:265])


def many_results() -> tuple[Files, bytes]:
    """A few thousand results as files, and their archive of several segments."""
    response = '{"email_address":"ann%d@example.com","note":"Grüße 😀"}'
    files = [
        (name_result_file(3, n, 0), encode_result(200, f"crm-{n}", quote_json(response % n)))
        for n in range(3_000)
    ]
    segments = [segment_of(files[start : start + 1_000]) for start in range(0, len(files), 1_000)]
    return files, archive_of(segments)


def test_tar_command_reads_the_archive_without_a_word() -> None:
    """`tar tzf` lists every file, `tar xzOf` gives their contents, and neither warns."""
    need("tar", "tar")
    files, archive = many_results()

    listed = subprocess.run(["tar", "tzf", "-"], input=archive, capture_output=True, check=False)
    shown = subprocess.run(["tar", "xzOf", "-"], input=archive, capture_output=True, check=False)

    assert (0, b"", 0, b"") == (listed.returncode, listed.stderr, shown.returncode, shown.stderr)
    assert [name for name, _ in files] == listed.stdout.decode().split()
    assert b"".join(content for _, content in files) == shown.stdout


def test_node_reads_the_archive() -> None:
    """Node's zlib reads the same tar."""
    need("node", "nodejs")
    _, archive = many_results()
    script = (
        "const chunks = []; process.stdin.on('data', c => chunks.push(c)).on('end', () =>"
        " process.stdout.write(require('zlib').gunzipSync(Buffer.concat(chunks))))"
    )

    done = subprocess.run(["node", "-e", script], input=archive, capture_output=True, check=True)

    assert inflate_one_member(archive) == done.stdout


def test_gzip_and_isal_read_the_archive() -> None:
    """Both gzip and ISA-L, which check the combined CRC, read the archive."""
    files, archive = many_results()

    assert gzip.decompress(archive) == isal_zlib.decompress(archive, wbits=31)
    assert files == tar_files(archive)


@given(
    st.integers(100, 599),
    st.none() | st.text(),
    texts | st.sampled_from(["", "{}", '{"a":"\\u00e4\\n"}', '{"a": "\x7f\u2028😀"}', "\0\x1f"]),
)
def test_result_is_an_array_with_one_object_in_ascii(
    status_code: int, operation_id: str | None, response: str
) -> None:
    """Any text is read back from JSON; keys have the contract's order."""
    encoded = encode_result(status_code, operation_id, quote_json(response))
    oracle = {"status_code": status_code, "operation_id": operation_id, "response": response}

    assert encoded.isascii()
    assert [oracle] == json.loads(encoded)
    assert list(oracle) == list(json.loads(encoded)[0])


def test_result_reads_as_the_contract_shows_it() -> None:
    """A result has exactly these bytes."""
    expected = (
        rb'[{"status_code":404,"operation_id":null,"response":"{\"a\":\"\u00e4\ud83d\ude00\"}"}]'
    )

    assert expected == encode_result(404, None, quote_json('{"a":"ä😀"}'))


def test_response_that_is_not_utf8_is_refused() -> None:
    """A response that is not UTF-8 is refused."""
    with pytest.raises(UnicodeDecodeError):
        RenderedJson(b'{"a":"\xff"}').render_quoted()


def test_file_names_are_unique_within_a_batch() -> None:
    """All operations and pages have different names, also at the limits."""
    powers = [2**bit for bit in range(28)]  # places that differ in one bit only
    positions = {*range(10_000), *range(POSITIONS_MAX - 1_000, POSITIONS_MAX), *powers}
    pages = [0, 1, 2, PAGES_MAX // 2, PAGES_MAX - 1]

    names = {name_result_file(42, *place) for place in product(positions, pages)}
    names |= {name_result_file(42, 0, page) for page in range(PAGES_MAX) if page not in pages}

    assert len(positions) * len(pages) + PAGES_MAX - len(pages) == len(names)


@given(
    st.integers(0, 2**63 - 1),
    st.integers(0, POSITIONS_MAX - 1),
    st.integers(0, PAGES_MAX - 1),
)
def test_file_name_is_hex_and_repeats(batch_key: int, position: int, page: int) -> None:
    """A name has ten hexadecimal digits and `.json`, and is the same in a second run."""
    name = name_result_file(batch_key, position, page)
    stem, suffix = name.split(".")

    assert ("json", 10) == (suffix, len(stem))
    assert set(stem) <= set("0123456789abcdef")
    assert name == name_result_file(batch_key, position, page)
    assert (position, page) == parse_file_name(batch_key, name)


def test_file_names_of_two_batches_differ() -> None:
    """Archives of several batches can be unpacked into one folder."""
    first, second = ({name_result_file(key, n, 0) for n in range(5_000)} for key in (1, 2))

    assert set() == first & second


@pytest.mark.parametrize(
    ("position", "page"), [(-1, 0), (POSITIONS_MAX, 0), (0, -1), (0, PAGES_MAX)]
)
def test_place_without_a_file_name_is_refused(position: int, page: int) -> None:
    """A position or page beyond the range of names is refused."""
    with pytest.raises(ValueError, match="No file name"):
        name_result_file(1, position, page)


def test_segment_that_was_cut_is_refused() -> None:
    """A segment of a wrong length is an error."""
    data = segment_of([("a.json", random.Random(1).randbytes(200_000))]).data

    with pytest.raises(ValueError, match=r"ends within its file a\.json"):
        list(read_files(data[: len(data) // 2]))


def test_text_is_read_back_from_its_segment() -> None:
    """A segment without files has a part of a file, unchanged."""
    text = b"[1,2,3" * 100_000

    assert text == read_text(deflate_text(text).data)
    assert 0 == deflate_text(text).file_count


@pytest.mark.parametrize("data", [b"\xff" * 100, b"no deflate at all"])
def test_bytes_that_are_no_segment_are_refused(data: bytes) -> None:
    """The error of a damaged segment says what is damaged."""
    with pytest.raises(ValueError, match=r"damaged|not the USTAR header"):
        list(read_files(data))
