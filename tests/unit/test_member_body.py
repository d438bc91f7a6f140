"""A rendered member equals its encoded `MemberBody`."""

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from batchway.audience.members.body import MemberBody, MemberRenderer, make_member_links
from batchway.audience.members.member import STATUSES, Member
from batchway.audience.merge_fields.rules import MergeField, MergeRules
from batchway.audience.merge_fields.types import Options
from batchway.audience.tags.rows import Tag
from batchway.contract.links import Links
from batchway.kit.ids import compute_subscriber_hash, compute_unique_email_id

LINKS = Links("http://127.0.0.1:8080")
RULES = MergeRules(
    [
        MergeField(
            merge_id=number, tag=tag, name=tag, type="text", display_order=number, options=Options()
        )
        for number, tag in enumerate(("FNAME", "LNAME", "100%"), 1)
    ]
)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
moments = st.none() | st.integers(0, 2**52)
members = st.builds(
    lambda address, **more: Member(
        subscriber_hash=compute_subscriber_hash(address),
        email_address=address,
        unique_email_id=compute_unique_email_id(1, address),
        **more,
    ),
    address=texts,
    id=st.integers(1, 2**62),
    account_id=st.just(1),
    list_id=st.just(1),
    status=st.sampled_from([*STATUSES, "archived"]),
    email_type=st.sampled_from(["html", "text"]),
    merge_fields=st.dictionaries(st.sampled_from(["1", "2", "3"]), texts),
    language=texts,
    vip=st.booleans(),
    latitude=st.just(0.0) | st.floats(-90, 90),
    longitude=st.just(0.0) | st.floats(-180, 180),
    ip_signup=st.sampled_from(
        ["", "192.0.2.1", 'fe80::1%"'],
    ),
    timestamp_signup=moments,
    ip_opt=st.sampled_from(["", "2001:db8::1"]),
    timestamp_opt=moments,
    source=st.sampled_from(["API - Generic", "100% \\ ours"]),
    unsubscribe_reason=texts,
    last_changed=st.integers(0, 2**52),
    revision=st.just(0),
    tags=st.lists(st.builds(Tag, st.integers(1, 99), texts, st.just(0)), max_size=60).map(tuple),
)


@given(st.lists(members, min_size=1, max_size=4))
def test_like_the_encoded_struct(some: list[Member]) -> None:
    """All keys are equal, whatever the members before were."""
    renderer = MemberRenderer("0123456789", RULES, LINKS)
    for member in some:
        body = renderer.defer_rendering(member)
        raw = body.render()

        decoded = msgspec.json.decode(raw, type=MemberBody)
        shown, encoded = map(msgspec.json.decode, (raw, msgspec.json.encode(decoded)))
        assert list(encoded.items()) == list(shown.items())
        assert member.subscriber_hash == decoded.id
        assert member.email_address == decoded.email_address
        assert RULES.render(member.merge_fields) == decoded.merge_fields
        assert [tag.name for tag in member.tags[:50]] == [tag.name for tag in decoded.tags]
        assert len(member.tags) == decoded.tags_count
        links = make_member_links(LINKS, "0123456789", member.subscriber_hash)
        assert msgspec.json.encode(links) == bytes(decoded.links)
        assert body.render_quoted().isascii()
        assert raw.decode() == json.loads(body.render_quoted())


@given(members)
def test_unsubscribe_reason(member: Member) -> None:
    """Only an unsubscribed member has the key."""
    raw = MemberRenderer("0123456789", RULES, LINKS).defer_rendering(member).render()
    shown = msgspec.json.decode(raw).get("unsubscribe_reason")

    expected = member.unsubscribe_reason if member.status == "unsubscribed" else ""
    assert (expected or None) == shown
