"""Runs the format suite for each results format, and tests what is special about a format."""

import io
import json
import tarfile

import pytest

from batchway import limits
from batchway.formats.base import Format
from batchway.formats.file_per_operation import FilePerOperation
from batchway.formats.one_document import OneDocument
from batchway.model.operation import Operation
from batchway.result_archive.files import name_result_file
from tests.contract.formats_suite import (
    BATCH,
    Answers,
    FormatSuite,
    join_parts,
    make_delete,
    make_entries,
    make_keys,
)

GET = Operation("GET", "/ping", {}, None, "ping")


class TestFilePerOperation(FormatSuite):
    """A file for each result."""

    @pytest.fixture
    def results_format(self) -> Format:
        """The format."""
        return FilePerOperation()

    def test_each_page_has_a_file_that_is_named_for_its_place(self, results_format: Format) -> None:
        """The name of a file depends on batch, position and page only."""
        answers: Answers = [(GET, [(200, {}), (200, {})]), (make_delete(), [(404, {})])]
        packed = results_format.pack_results(BATCH, make_entries(answers))

        names = list(read_file_sizes(join_parts(results_format, make_keys([packed]))[0]))

        assert [name_result_file(7, *place) for place in ((0, 0), (0, 1), (3, 0))] == names


class TestOneDocument(FormatSuite):
    """One file for all results except those of GETs."""

    @pytest.fixture
    def results_format(self) -> Format:
        """The format, with a file for each GET."""
        return OneDocument(FilePerOperation())

    def test_document_comes_first_and_gets_have_files(self, results_format: Format) -> None:
        """The parts of the document are one file; the result of each GET is a file."""
        answers: Answers = [
            (GET, [(200, {})]),
            (make_delete(), [(404, {})]),
            (make_delete(), [(200, {})]),
        ]
        packs = [results_format.pack_results(BATCH, [entry]) for entry in make_entries(answers)]

        sizes = read_file_sizes(join_parts(results_format, make_keys(packs))[0])

        assert [2, 1] == list(sizes.values())

    def test_document_that_is_too_large_is_continued_in_another_file(
        self, results_format: Format, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file is within the limit unless one segment exceeds it."""
        answers: Answers = [(make_delete(), [(200, {})]) for _ in range(6)]
        packs = [results_format.pack_results(BATCH, [entry]) for entry in make_entries(answers)]
        monkeypatch.setattr(limits, "results_file_bytes_max", 2 * packs[0][0].segment.raw_bytes + 1)

        sizes = read_file_sizes(join_parts(results_format, make_keys(packs))[0])

        assert [2, 2, 2] == list(sizes.values())


def read_file_sizes(archive: bytes) -> dict[str, int]:
    """Return the number of results in each file of an archive, by name and in order."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        files = {info.name: tar.extractfile(info) for info in tar}
        return {name: len(json.load(file)) for name, file in files.items() if file}
