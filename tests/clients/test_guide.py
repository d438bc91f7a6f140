"""The calls of the Batch endpoint's guide, with bash, curl, jq and Node."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest

from tests.clients.programs import NODE, need, output_of
from tests.contract.shared_servers import Api, read_raw_results
from tests.receiver import Receiver
from tests.scenario import Server, wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"

# PHP's own parser of forms makes arrays of the brackets.
PARSE_STR = """
    parse_str(file_get_contents("php://stdin"), $form);
    echo $form["data"]["response_body_url"];
"""


def run_guide(
    server: Server, list_id: str, webhook_url: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `examples/curl.sh`, which has the guide's calls with another host and key."""
    for program in ("bash", "curl", "jq"):
        need(program, program)
    variables = {
        "BATCHWAY_URL": server.url,
        "BATCHWAY_API_KEY": server.key,
        "BATCHWAY_LIST_ID": list_id,
        "BATCHWAY_WEBHOOK_URL": webhook_url,
    }
    return subprocess.run(
        ["bash", EXAMPLES / "curl.sh"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


def read_results(url: str) -> list[str]:
    """Run `examples/read_results.py`, and return the lines of its output."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / "read_results.py", url],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.splitlines()


def test_the_guide(api: Api) -> None:
    """The guide's calls work: POST, status, results, and the mapping of ids to web_ids."""
    list_id = api.new_list()

    ran = run_guide(api.server, list_id)

    batch, end = json.JSONDecoder().raw_decode(ran.stdout)
    assert ("pending", 2) == (batch["status"], batch["total_operations"])
    assert "_links" not in batch  # jq has taken them out
    status = json.loads(ran.stdout[end:])
    assert status in {"pending", "preprocessing", "started", "finalizing", "finished"}
    assert "anystring: command not found" in ran.stderr  # the guide's own slip: no user name

    finished = api.wait_until_finished(batch["id"])
    lines = read_results(finished["response_body_url"])
    members = {
        member["email_address"]: member["web_id"]
        for member in api.call_ok("GET", f"/lists/{list_id}/members")["members"]
    }
    assert [
        f"1 has web_id {members['user1@example.com']}",
        f"2 has web_id {members['user2@example.com']}",
    ] == lines
    assert 0 == finished["errored_operations"]


def test_the_guide_again(api: Api) -> None:
    """A second run reports members that exist, and does not add them."""
    list_id = api.new_list()
    first, _ = json.JSONDecoder().raw_decode(run_guide(api.server, list_id).stdout)
    api.wait_until_finished(first["id"])
    second, _ = json.JSONDecoder().raw_decode(run_guide(api.server, list_id).stdout)

    finished = api.wait_until_finished(second["id"])
    lines = read_results(finished["response_body_url"])

    assert 2 == finished["errored_operations"]
    for line in lines:
        assert "failed: Member Exists" in line


@pytest.fixture
def webhook_body(hooked: Server, receiver: Receiver) -> bytes:
    """The body that the webhook of the guide gets for a batch."""
    run_guide(hooked, hooked.new_list(), receiver.url)
    batch_id = hooked.submit([{"method": "GET", "path": "/ping"}])

    # The guide makes a batch before the webhook, which may get its event as well.
    bodies = wait_until(lambda: _bodies(receiver, batch_id), f"the event of {batch_id} arrives")
    return bodies[0]


def _bodies(receiver: Receiver, batch_id: str) -> list[bytes]:
    name = urlencode({"data[id]": batch_id}).encode()
    return [
        delivery.body for delivery in receiver.deliveries() if name in delivery.body.split(b"&")
    ]


def test_the_guide_reads_its_webhook(webhook_body: bytes) -> None:
    """The guide's code, which decodes twice, finds the complete link."""
    need("node", "nodejs")
    url = dict(parse_qsl(webhook_body.decode(), strict_parsing=True))["data[response_body_url]"]

    printed = output_of("node", NODE / "handle_webhook.mjs", given=webhook_body)

    assert f"You can fetch the gzipped response with {url}.\n" == printed
    assert [200] == [
        result["status_code"] for result in read_raw_results(httpx.get(url, timeout=60).content)
    ]


def test_php_reads_the_webhook(webhook_body: bytes) -> None:
    """PHP, whose syntax the brackets are, finds the same link."""
    need("php", "php-cli")
    url = dict(parse_qsl(webhook_body.decode(), strict_parsing=True))["data[response_body_url]"]

    assert url == output_of("php", "-r", PARSE_STR, given=webhook_body)
