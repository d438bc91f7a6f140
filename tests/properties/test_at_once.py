"""Simultaneous chunks and calls have the same outcome for each contact as one after the other.

The results and rows of a contact must be those of one of the two serial orders. Different contacts
may have different orders where a chunk only reads them.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from sys import getswitchinterval, setswitchinterval
from threading import Barrier
from typing import Any

import pytest
from hypothesis import settings

from batchway.kit.ids import compute_subscriber_hash
from tests.properties.calls import Call
from tests.properties.conftest import Places
from tests.properties.world import NOW, Answered, World

_ROUNDS = settings().max_examples // 5
_CALLS_PER_CHUNK = 25
_SECONDS_MAX = 120.0
_PEOPLE = ("ann", "bob", "dee", "eve", "new", "other")

Task = Callable[[], list[Answered]]
Findings = dict[str, list[str]]


@pytest.fixture(params=["sqlite", "postgres"])
def places(request: pytest.FixtureRequest) -> Places:
    """Both places, on each database in turn."""
    found: Places = request.getfixturevalue(f"{request.param}_places")
    return found


@pytest.fixture(autouse=True)
def hurried_threads() -> Iterator[None]:
    """Let threads switch far more often than usual."""
    usual = getswitchinterval()
    setswitchinterval(1e-5)
    yield
    setswitchinterval(usual)


@pytest.mark.parametrize("meets", [True, False], ids=["meeting", "racing"])
def test_two_chunks(places: Places, random_seed: int, *, meets: bool) -> None:
    """Each contact sees one chunk first, whether or not both are planned before either writes."""
    for number in range(_ROUNDS):
        random = Random(f"{random_seed}-{number}")
        chunks = [_calls(random), _calls(random)]
        world, in_order, turned = (World(places[0]) for _ in range(3))
        barrier = Barrier(2 if meets else 1)
        meet = partial(barrier.wait, _SECONDS_MAX)
        answers = at_once(
            *(partial(world.answer_as_chunk, chunk, NOW, meet=meet) for chunk in chunks)
        )

        expected = [
            _findings(in_order, chunks, _serial(in_order, chunks, (0, 1))),
            _findings(turned, chunks, _serial(turned, chunks, (1, 0))),
        ]
        found = _findings(world, chunks, answers)
        for person in _PEOPLE:
            assert found[person] in [expected_item[person] for expected_item in expected], (
                f"seed {random_seed}"
            )
        assert [] == [answer for answered in answers for answer in answered if answer.status >= 500]
        world.assert_sound()


def test_single_calls_beside_a_chunk(places: Places, random_seed: int) -> None:
    """Each new contact is added once, and no call fails."""
    for number in range(_ROUNDS):
        random = Random(f"{random_seed}-{number}")
        world = World(places[0])
        addresses = [f"{number}@example.com" for number in range(20)]
        orders = [random.sample(addresses, len(addresses)) for _ in range(3)]
        alone, beside, chunk = ([_add(address) for address in order] for order in orders)
        answers = at_once(
            partial(world.answer_alone, alone, NOW),
            partial(world.answer_alone, beside, NOW),
            partial(world.answer_as_chunk, chunk, NOW),
        )

        statuses = [answer.status for answered in answers for answer in answered]
        assert [200] * 20 + [400] * 40 == sorted(statuses)
        refusals = {text for answered in answers for status, text in answered if status == 400}
        assert all("Member Exists" in text for text in refusals)
        world.assert_sound()


@pytest.fixture
def random_seed(request: pytest.FixtureRequest) -> int:
    """A new seed in each run. `--randomly-seed` repeats the calls, but not the threads' order."""
    seed: int = request.config.getoption("randomly_seed", 0)
    return seed


def at_once(*tasks: Task) -> list[list[Answered]]:
    """Run all tasks at once, and return their results."""
    start = Barrier(len(tasks))

    def run(task: Task) -> list[Answered]:
        start.wait(_SECONDS_MAX)
        return task()

    with ThreadPoolExecutor(len(tasks)) as threads:
        running = [threads.submit(run, task) for task in tasks]
        return [future.result(_SECONDS_MAX) for future in running]


def _serial(
    world: World, chunks: Sequence[list[Call]], order: Sequence[int]
) -> list[list[Answered]]:
    answers = {number: world.answer_as_chunk(chunks[number], NOW) for number in order}
    return [answers[number] for number in sorted(answers)]


def _findings(
    world: World, chunks: Sequence[list[Call]], answers: Sequence[list[Answered]]
) -> Findings:
    """Return for each contact the answers to its calls and its rows at the end, without ids."""
    lists = world.list_names()
    ids = re.compile(f"{_IDS}|{'|'.join(lists)}")
    rows = [ids.sub("", row) for row in world.state()]
    found: Findings = {}
    for person in _PEOPLE:
        hashed = _hash(person)
        found[person] = [
            f"{chunk} {answer.status} {ids.sub('', answer.text)}"
            for chunk, (calls, answered) in enumerate(zip(chunks, answers, strict=True))
            for call, answer in zip(calls, answered, strict=True)
            if _is_about(call, person)
        ] + sorted(row for row in rows if hashed in row)
    return found


_IDS = r'"(?:web_id|id)":[0-9]+|"contact_id":"[0-9a-f]{32}"|"unique_email_id":"[0-9a-f]{10}"'


def _is_about(call: Call, person: str) -> bool:
    return _hash(person) in call.path or f'"{person}@' in (call.body or "")


def _hash(person: str) -> str:
    return compute_subscriber_hash(f"{person}@example.com")


def _add(address: str, **body: Any) -> Call:
    content = {"email_address": address, "status": "subscribed", **body}
    return Call("member", "POST", "/lists/<A>/members", {}, json.dumps(content))


def _calls(random: Random) -> list[Call]:
    """Return calls on few contacts, sometimes with a change of the whole list among them."""
    calls = [_call(random, random.choice(_PEOPLE)) for _ in range(_CALLS_PER_CHUNK)]
    if random.random() < 0.2:
        field = json.dumps({"name": "Extra", "tag": "EXTRA", "type": "text"})
        place = random.randrange(_CALLS_PER_CHUNK)
        calls.insert(place, Call("write", "POST", "/lists/<A>/merge-fields", {}, field))
    return calls


def _call(random: Random, person: str) -> Call:
    path = f"/lists/<A>/members/{_hash(person)}"
    status = random.choice(["subscribed", "unsubscribed", "cleaned", "pending"])
    tag = random.choice(["VIP", "old", "fresh", "newer"])
    address = f"{person}@example.com"
    change = {"tags": [{"name": tag, "status": random.choice(["active", "inactive"])}]}
    upserted = {"email_address": address, "status_if_new": status}
    forget = Call("member", "POST", f"{path}/actions/delete-permanent")
    choices = [
        _add(address, tags=[tag], status=status),
        Call("member", "PUT", path, {}, json.dumps(upserted)),
        Call("member", "PATCH", path, {}, json.dumps({"status": status})),
        Call("member", "PATCH", path, {}, json.dumps({"merge_fields": {"FNAME": status}})),
        Call("member", "POST", f"{path}/tags", {}, json.dumps(change)),
        Call("member", "GET", path),
        Call("member", "GET", f"{path}/tags"),
        Call("member", "DELETE", path),
    ]
    return forget if random.random() < 0.03 else random.choice(choices)
