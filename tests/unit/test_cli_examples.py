"""The contacts file of the examples, and their code that reads results."""

import importlib.util
import io
import json
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

from batchway.cli.contacts_csv import Columns, Contact, ContactsFile

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    """Import an example as a module. The folder is not a package."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def contacts() -> list[Contact]:
    """The contacts of the file, as an import reads them."""
    types = {"FNAME": "text", "LNAME": "text"}
    return list(ContactsFile(EXAMPLES / "contacts.csv", Columns(), types))


def test_the_contacts_file_is_what_its_generator_makes() -> None:
    """The file and its generator must be changed together."""
    file = io.StringIO()
    example("make_contacts").write(file)

    assert (EXAMPLES / "contacts.csv").read_text(encoding="utf-8") == file.getvalue()


def test_four_of_a_thousand_contacts_are_bad(contacts: list[Contact]) -> None:
    """One address is a duplicate, one has no @, one is missing; one status is unknown."""
    addresses = [contact.email_address for contact in contacts]
    statuses = {"subscribed", "unsubscribed", "pending", ""}

    assert 1_000 == len(contacts) == len({contact.id for contact in contacts})
    assert 1_000 == len(set(addresses))
    assert 999 == len({address.lower() for address in addresses})
    assert 1 == len([address for address in addresses if address and "@" not in address])
    assert 1 == addresses.count("")
    assert ["opted-in"] == [
        contact.status for contact in contacts if contact.status not in statuses
    ]


def test_contacts_have_names_of_all_kinds_and_harmless_addresses(contacts: list[Contact]) -> None:
    """Every contact has a name, and an address at a domain for examples."""
    names = [contact.merge_fields["FNAME"] for contact in contacts]
    domains = {contact.email_address.lower().rpartition("@")[2] for contact in contacts}

    assert any(not name.isascii() for name in names)
    assert {"example.com", "example.net", "example.org"} == {
        domain for domain in domains if domain.count(".") == 1
    }
    assert max(len(contact.tags) for contact in contacts) == 2


def test_the_result_reader_maps_ids_to_web_ids() -> None:
    """As in the guide, successes are saved by the caller's id, and failures are returned."""
    results = [
        {"status_code": 200, "operation_id": "7", "response": '{"web_id": 42}'},
        {"status_code": 400, "operation_id": "8", "response": '{"title": "Member Exists"}'},
    ]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for number, result in enumerate(results):
            content = json.dumps([result]).encode()
            entry = tarfile.TarInfo(f"{number:010x}.json")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    archive.seek(0)
    reader = example("read_results")
    database = reader.FakeDatabase()

    failed = reader.save_web_ids(archive, database)

    assert {"7": 42} == database.web_ids
    assert ["8"] == [result["operation_id"] for result in failed]
