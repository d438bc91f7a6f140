"""`batchway lists`: create and show lists."""

from typing import Annotated, Any

import msgspec
import typer

from batchway.cli.commands import add_command
from batchway.cli.connection import Connection
from batchway.cli.options import CountOption, OffsetOption, PageOptions, QuietOption, ServerOptions
from batchway.cli.terminal import print_page, print_text, printable

COUNT_DEFAULT = 100

ADDRESS_DEFAULT = "1 Example Street"
CITY_DEFAULT = "Example City"
COUNTRY_DEFAULT = "US"
FROM_EMAIL_DEFAULT = "newsletter@example.com"
LANGUAGE_DEFAULT = "en"
REMINDER_DEFAULT = "You signed up for these emails."


class Stats(msgspec.Struct, frozen=True):
    """The counts of a list that are shown."""

    member_count: int = 0
    unsubscribe_count: int = 0


class AudienceList(msgspec.Struct, frozen=True):
    """The fields of a list that are shown."""

    id: str
    name: str
    date_created: str = ""
    stats: Stats = Stats()


class AudienceLists(msgspec.Struct, frozen=True):
    """A page of lists."""

    lists: list[AudienceList]
    total_items: int


class Contact(msgspec.Struct, frozen=True):
    """The sender of a list. The law of many countries requires it in each email."""

    company: str
    address1: str = ADDRESS_DEFAULT
    city: str = CITY_DEFAULT
    country: str = COUNTRY_DEFAULT


class CampaignDefaults(msgspec.Struct, frozen=True):
    """The defaults of a campaign that is sent to the list."""

    from_name: str
    subject: str
    from_email: str = FROM_EMAIL_DEFAULT
    language: str = LANGUAGE_DEFAULT


class NewList(msgspec.Struct, frozen=True):
    """The fields that the API requires of a new list."""

    name: str
    contact: Contact
    campaign_defaults: CampaignDefaults
    permission_reminder: str = REMINDER_DEFAULT
    email_type_option: bool = False

    @classmethod
    def named(cls, name: str) -> "NewList":
        """Return a list with defaults for everything except its name."""
        return cls(name, Contact(name), CampaignDefaults(name, name))


def _option(name: str, meaning: str, default: str | bool = True) -> Any:  # noqa: ANN401 - Typer's own type
    return typer.Option(envvar=f"BATCHWAY_{name}", help=meaning, show_default=default)


_THE_NAME = "the name of the list"

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the list.")]
CompanyOption = Annotated[str, _option("COMPANY", "Company that sends the emails.", _THE_NAME)]
AddressOption = Annotated[str, _option("ADDRESS", "Street address of the sender.")]
CityOption = Annotated[str, _option("CITY", "City of the sender.")]
CountryOption = Annotated[
    str, _option("COUNTRY", "Country of the sender, as a code of two letters.")
]
FromNameOption = Annotated[str, _option("FROM_NAME", "Sender name of emails.", _THE_NAME)]
FromEmailOption = Annotated[str, _option("FROM_EMAIL", "Sender address of emails.")]
SubjectOption = Annotated[str, _option("SUBJECT", "Default subject of emails.", _THE_NAME)]
LanguageOption = Annotated[str, _option("LANGUAGE", "Language of the emails.")]
ReminderOption = Annotated[
    str, _option("PERMISSION_REMINDER", "Text that reminds contacts how they joined the list.")
]
EmailTypeOption = Annotated[
    bool,
    typer.Option(
        "--email-type-option",
        envvar="BATCHWAY_EMAIL_TYPE_OPTION",
        help="Let contacts choose between HTML and plain text.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add `batchway lists`."""
    lists = typer.Typer(no_args_is_help=True, help="Create and show lists.")
    add_command(
        lists,
        "create",
        create_command,
        'batchway lists create "Spring fair"',
        """batchway lists create Newsletter --company "Ann's Tea" --from-email ann@example.com""",
        "BATCHWAY_LIST_ID=$(batchway lists create Newsletter --quiet)",
    )
    add_command(
        lists,
        "list",
        list_command,
        "batchway lists list",
        "batchway lists list --count 10 --offset 10",
    )
    app.add_typer(lists, name="lists")


def create_command(
    *,
    name: NameArgument,
    server: ServerOptions,
    company: CompanyOption = "",
    address: AddressOption = ADDRESS_DEFAULT,
    city: CityOption = CITY_DEFAULT,
    country: CountryOption = COUNTRY_DEFAULT,
    from_name: FromNameOption = "",
    from_email: FromEmailOption = FROM_EMAIL_DEFAULT,
    subject: SubjectOption = "",
    language: LanguageOption = LANGUAGE_DEFAULT,
    permission_reminder: ReminderOption = REMINDER_DEFAULT,
    email_type_option: EmailTypeOption = False,
    quiet: QuietOption = False,
) -> None:
    """Create a list."""
    wanted = NewList(
        name=name,
        contact=Contact(company or name, address, city, country),
        permission_reminder=permission_reminder,
        email_type_option=email_type_option,
        campaign_defaults=CampaignDefaults(
            from_name or name, from_email, subject or name, language
        ),
    )
    with server.connect() as connection:
        created = create_list(connection, wanted)
    if quiet:
        print_text(created.id)
        return
    print_text(f"List {created.id} was created: {printable(created.name)}")
    print_text(f"Fill it with: batchway import contacts.csv --list {created.id}")


def create_list(connection: Connection, wanted: NewList) -> AudienceList:
    """Create a list. A second call creates another list with the same name."""
    return connection.post("/lists", msgspec.json.encode(wanted), AudienceList)


def list_command(
    server: ServerOptions, count: CountOption = COUNT_DEFAULT, offset: OffsetOption = 0
) -> None:
    """Show the lists of the account."""
    with server.connect() as connection:
        found = connection.get("/lists", AudienceLists, PageOptions(count, offset).params)
    rows = [
        (each.id, each.name, each.stats.member_count, each.stats.unsubscribe_count)
        for each in found.lists
    ]
    print_page(("id", "name", "subscribed", "unsubscribed"), rows, offset, found.total_items)
