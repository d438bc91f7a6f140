"""Makes `contacts.csv`: 1,000 contacts as another database has them, always the same ones.

The columns are `id,email,first_name,last_name,status,tags`: the database's own id, an address at
a domain that is reserved for examples, a name, a status (empty where the database has none) and
up to two tags, separated by a semicolon. Four contacts are bad on purpose, at fixed places:

* one has an address that another one has already, in capitals (`DUPLICATE`);
* one has an address without an @ (`MALFORMED`);
* one has no address (`MISSING`);
* one has a status that does not exist (`UNKNOWN_STATUS`).

    python examples/make_contacts.py > examples/contacts.csv
"""

import csv
import random
import sys
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple, TextIO

SEED = 2026
CONTACT_COUNT = 1_000
FIRST_ID = 1001
# Places in the file, counted from 0; the duplicate is a copy of the first contact's address.
DUPLICATE, MALFORMED, MISSING, UNKNOWN_STATUS = 317, 482, 655, 871

FIRST_NAMES = (  # noqa: SIM905 - names read better without quotes
    "Ada Aisha Alejandro Amélie Ana Anders Anna Antoine Arjun Aylin Beatriz Ben Björn Bruna Carlos "
    "Chiara Chloé Clara Daniel David Deniz Diego Elena Eli Elif Emil Emma Erik Fatima Felix Filip "
    "Freya Gabriel Gül Hana Hannah Hugo Ines Ingrid Iris Ivan Jack Jakub Jana João Johanna Jonas "
    "José Julia Karim Kateřina Kofi Lars Laura Léa Leila Leo Lina Lucía Luis Łukasz Magdalena Maja "
    "Malik Marek Maria Marta Matteo Maya Mei Mia Mikael Milan Miriam Mohamed Nadia Naomi Nils Nina "
    "Noah Nora Olga Oliver Omar Oscar Paula Pavel Pedro Petra Priya Rafael Rania Ravi René Rosa "
    "Ruth Samuel Sara Sebastián Selma Simon Sofía Søren Stella Sven Tariq Tereza Theo Thomas Tomás "
    "Valentina Vera Viktor William Yara Yusuf Zoë Žofie 美咲 Дарья"
).split()
LAST_NAMES = (  # noqa: SIM905 - as above
    "Abdullah Ahmed Almeida Andersson Baker Bauer Becker Bernard Bianchi Brown Castro Černý Chen "
    "Clarke Costa Da-Silva Demir Díaz Dubois Dvořák Eriksson Evans Fernández Ferrari Fischer "
    "Fontaine Fraser García Gomes González Grønn Gupta Haddad Hansen Hassan Hoffmann Horváth Ito "
    "Ivanova Jansen Jensen Johansson Jones Jović Kaya Keller Khan Kim Kovács Kowalski Kumar Larsen "
    "Laurent Lee Lindqvist Lopez Mancini Martin Mehta Mensah Meyer Moreau Morgan Müller Murphy "
    "Nakamura Nguyen Nielsen Novák Nowak O'Brien Okafor Olsen Öztürk Patel Pereira Petrov Popescu "
    "Quinn Ramos Ricci Roberts Romero Rossi Roux Ruiz Sánchez Santos Schmidt Schneider Silva Singh "
    "Smith Sørensen Svoboda Tanaka Taylor Torres Tremblay Vargas Vogel Wagner Walker Wang Weber "
    "Wilson Wójcik Wright Yılmaz Young Zhang 高橋 Соколова"  # noqa: RUF001 - so it is written
).split()
DOMAINS = ("example.com", "example.org", "example.net")
TAGS = ("newsletter", "spring-fair", "workshop", "press", "friend")
STATUSES = ("subscribed",) * 85 + ("unsubscribed",) * 6 + ("pending",) * 3 + ("",) * 6
TAG_COUNTS = (0, 1, 1, 1, 2, 2)
HEADER = ("id", "email", "first_name", "last_name", "status", "tags")
# Letters that Unicode does not take apart into a plain letter and an accent.
PLAIN_LETTERS = str.maketrans({"ł": "l", "ø": "o", "ı": "i", "ß": "ss"})  # noqa: RUF001 - as above


class Contact(NamedTuple):
    """A row of the file."""

    id: int
    email: str
    first_name: str
    last_name: str
    status: str
    tags: str


def contacts() -> list[Contact]:
    """Yield the thousand contacts."""
    chance = random.Random(SEED)
    taken: set[str] = set()
    made = [_contact(chance, FIRST_ID + place, taken) for place in range(CONTACT_COUNT)]
    made[DUPLICATE] = made[DUPLICATE]._replace(email=made[0].email.upper(), status="subscribed")
    made[MALFORMED] = made[MALFORMED]._replace(email=made[MALFORMED].email.replace("@", "."))
    made[MISSING] = made[MISSING]._replace(email="")
    made[UNKNOWN_STATUS] = made[UNKNOWN_STATUS]._replace(status="opted-in")
    return made


def write(file: TextIO) -> None:
    """Write the contacts as CSV."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(contacts())


def _contact(chance: random.Random, own_id: int, taken: set[str]) -> Contact:
    first_name, last_name = chance.choice(FIRST_NAMES), chance.choice(LAST_NAMES)
    domain = chance.choice(DOMAINS)
    email = next(
        address for address in _addresses(first_name, last_name, domain) if address not in taken
    )
    taken.add(email)
    tags = sorted(chance.sample(TAGS, chance.choice(TAG_COUNTS)))
    return Contact(own_id, email, first_name, last_name, chance.choice(STATUSES), ";".join(tags))


def _addresses(first_name: str, last_name: str, domain: str) -> Iterator[str]:
    """Yield possible addresses of a person: first without a number, then with one."""
    words = [word for word in (_plain(first_name), _plain(last_name)) if word] or ["contact"]
    local_part = ".".join(words)
    yield f"{local_part}@{domain}"
    for number in range(2, CONTACT_COUNT):
        yield f"{local_part}{number}@{domain}"


def _plain(name: str) -> str:
    """Return the name in lower-case ASCII letters."""
    apart = unicodedata.normalize("NFKD", name.lower().translate(PLAIN_LETTERS))
    return "".join(letter for letter in apart if letter.isascii() and letter.isalpha())


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr] # a file, here
    write(sys.stdout)
