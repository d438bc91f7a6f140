"""Maps your own ids to web_ids, from the `response_body_url` of a finished batch.

The result-reading code of the Batch endpoint's guide in Python, standard library only. The archive
is read as a stream; nothing is unpacked to the disk.

    python examples/read_results.py "RESPONSE_BODY_URL_FROM_PREVIOUS_STEPS"
"""

import json
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from typing import IO, Any

TIMEOUT_SECONDS = 120


class FakeDatabase:
    """Stands for your own database: stores the web_id of each of your users."""

    def __init__(self) -> None:
        self.web_ids: dict[str, int] = {}

    def update_user(self, user_id: str, web_id: int) -> None:
        """Store the web_id of a user."""
        self.web_ids[user_id] = web_id


def read_batch_archive(archive: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Yield each result in a gzipped tar archive of JSON files, with its response decoded."""
    with tarfile.open(fileobj=archive, mode="r|gz") as files:
        for entry in files:
            file = files.extractfile(entry)
            if file is None:
                continue  # a folder
            for result in json.loads(file.read() or b"[]"):
                yield {**result, "response": json.loads(result["response"])}


def save_web_ids(archive: IO[bytes], database: FakeDatabase) -> list[dict[str, Any]]:
    """Save the web_id of each contact that was added, and return the results that failed."""
    failed = []
    for result in read_batch_archive(archive):
        if result["status_code"] == 200:
            database.update_user(result["operation_id"], result["response"]["web_id"])
        else:
            failed.append(result)
    return failed


def main(response_body_url: str) -> None:
    """Download the archive and print what it says. The link needs no API key."""
    database = FakeDatabase()
    with urllib.request.urlopen(response_body_url, timeout=TIMEOUT_SECONDS) as answer:
        failed = save_web_ids(answer, database)
    for user_id, web_id in database.web_ids.items():
        print(f"{user_id} has web_id {web_id}")
    for result in failed:
        problem = result["response"]
        print(f"{result['operation_id']!r} failed: {problem['title']}: {problem['detail']!r}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
