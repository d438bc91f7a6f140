"""The calls of the Batch endpoint's guide, with the real bash, curl and jq."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.running import Api
from tests.scenario import KEY

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_guide(api: Api, list_id: str) -> subprocess.CompletedProcess[str]:
    """Run `examples/curl.sh`, whose calls stand in the guide but for host and key."""
    missing = [name for name in ("bash", "curl", "jq") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    variables = {
        "BATCHWAY_URL": api.server.url,
        "BATCHWAY_API_KEY": KEY,
        "BATCHWAY_LIST_ID": list_id,
    }
    return subprocess.run(
        ["bash", EXAMPLES / "curl.sh"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


def test_the_guide(api: Api) -> None:
    """POST, status, results: as the guide has it, to the mapping of ids to web_ids."""
    list_id = api.new_list()

    ran = run_guide(api, list_id)

    batch, end = json.JSONDecoder().raw_decode(ran.stdout)
    assert ("pending", 2) == (batch["status"], batch["total_operations"])
    assert "_links" not in batch  # jq has taken them out
    status = json.loads(ran.stdout[end:])
    assert status in {"pending", "preprocessing", "started", "finalizing", "finished"}
    assert "anystring: command not found" in ran.stderr  # the guide's own slip: no user name

    finished = api.finished(batch["id"])
    read = subprocess.run(
        [sys.executable, EXAMPLES / "read_results.py", finished["response_body_url"]],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    members = {
        each["email_address"]: each["web_id"]
        for each in api.done("GET", f"/lists/{list_id}/members")["members"]
    }
    assert [
        f"1 has web_id {members['user1@example.com']}",
        f"2 has web_id {members['user2@example.com']}",
    ] == read.stdout.splitlines()
    assert 0 == finished["errored_operations"]


def test_the_guide_again(api: Api) -> None:
    """Who is there already is reported, not added twice."""
    list_id = api.new_list()
    first, _ = json.JSONDecoder().raw_decode(run_guide(api, list_id).stdout)
    api.finished(first["id"])
    second, _ = json.JSONDecoder().raw_decode(run_guide(api, list_id).stdout)

    finished = api.finished(second["id"])
    read = subprocess.run(
        [sys.executable, EXAMPLES / "read_results.py", finished["response_body_url"]],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert 2 == finished["errored_operations"]
    for line in read.stdout.splitlines():
        assert "failed: Member Exists" in line
