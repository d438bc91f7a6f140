"""The body of a batch webhook, as bytes."""

from urllib.parse import parse_qsl, unquote

from hypothesis import given
from hypothesis import strategies as st

from batchway.contract.links import Links
from batchway.kit.clock import SECOND
from batchway.surfaces.mailchimp.batch_body import build_batch_links
from batchway.surfaces.mailchimp.bodies.batches import BatchBody
from batchway.surfaces.mailchimp.webhook_event import FINISHED, TEST, build_test_batch, render_event

NOON = 1_795_435_200 * SECOND
LINKS = Links("https://batch.example.com")
BASE = "https%3A%2F%2Fbatch.example.com"
SCHEMA = f"{BASE}%2Fschema%2F3.0"
BATCHES = f"{SCHEMA}%2FDefinitions%2FBatches"
BATCH = BatchBody(
    id="1234ab56cd",
    status="finished",
    total_operations=3,
    finished_operations=3,
    errored_operations=1,
    submitted_at="2026-11-23T11:59:59+00:00",
    completed_at="2026-11-23T12:00:00+00:00",
    response_body_url="https://batch.example.com/results/1234ab56cd-response.tar.gz?t=a-b_c",
    links=build_batch_links(LINKS, "1234ab56cd"),
)
EXPECTED = "&".join(
    [
        "type=batch_operation_completed",
        "fired_at=2026-11-23%2012%3A00%3A00",
        "data%5Bid%5D=1234ab56cd",
        "data%5Bstatus%5D=finished",
        "data%5Btotal_operations%5D=3",
        "data%5Bfinished_operations%5D=3",
        "data%5Berrored_operations%5D=1",
        "data%5Bsubmitted_at%5D=2026-11-23T11%3A59%3A59%2B00%3A00",
        "data%5Bcompleted_at%5D=2026-11-23T12%3A00%3A00%2B00%3A00",
        f"data%5Bresponse_body_url%5D={BASE}%2Fresults%2F1234ab56cd-response.tar.gz%3Ft%3Da-b_c",
        "data%5B_links%5D%5B0%5D%5Brel%5D=parent",
        f"data%5B_links%5D%5B0%5D%5Bhref%5D={BASE}%2F3.0%2Fbatches",
        "data%5B_links%5D%5B0%5D%5Bmethod%5D=GET",
        f"data%5B_links%5D%5B0%5D%5BtargetSchema%5D={BATCHES}%2FCollectionResponse.json",
        f"data%5B_links%5D%5B0%5D%5Bschema%5D={SCHEMA}%2FCollectionLinks%2FBatches.json",
        "data%5B_links%5D%5B1%5D%5Brel%5D=self",
        f"data%5B_links%5D%5B1%5D%5Bhref%5D={BASE}%2F3.0%2Fbatches%2F1234ab56cd",
        "data%5B_links%5D%5B1%5D%5Bmethod%5D=GET",
        f"data%5B_links%5D%5B1%5D%5BtargetSchema%5D={BATCHES}%2FResponse.json",
        "data%5B_links%5D%5B2%5D%5Brel%5D=delete",
        f"data%5B_links%5D%5B2%5D%5Bhref%5D={BASE}%2F3.0%2Fbatches%2F1234ab56cd",
        "data%5B_links%5D%5B2%5D%5Bmethod%5D=DELETE",
    ]
)


def test_event() -> None:
    """The event has exactly these bytes: order, encoding, and links without absent keys."""
    assert EXPECTED.encode() == render_event(FINISHED, NOON + SECOND - 1, BATCH)


def test_decoded_twice() -> None:
    """A receiver that decodes the whole body before it parses it gets the same link."""
    decoded = unquote(render_event(FINISHED, NOON, BATCH).decode())

    assert BATCH.response_body_url == dict(parse_qsl(decoded))["data[response_body_url]"]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives(text: str) -> None:
    """A form parser reads back any value, and no key is added or lost."""
    batch = BatchBody(text, text, 1, 2, 3, text, text, text, build_batch_links(LINKS, text))

    body = render_event(FINISHED, NOON, batch).decode("ascii")

    parsed = parse_qsl(body, keep_blank_values=True, strict_parsing=True)
    assert [name for name, _ in parse_qsl(EXPECTED)] == [name for name, _ in parsed]
    names = ("data[id]", "data[status]", "data[submitted_at]", "data[response_body_url]")
    assert [text] * 4 == [dict(parsed)[name] for name in names]
    assert "+" not in body


def test_test_event() -> None:
    """A test event has the keys of a real one; its batch has no operations, results or real id."""
    parsed = parse_qsl(render_event(TEST, NOON, build_test_batch(LINKS, NOON)).decode(), True)

    assert [name for name, _ in parse_qsl(EXPECTED)] == [name for name, _ in parsed]
    fields = dict(parsed)
    assert ("test", "0000000000", "finished", "0", "") == tuple(
        fields[name]
        for name in (
            "type",
            "data[id]",
            "data[status]",
            "data[total_operations]",
            "data[response_body_url]",
        )
    )
