"""The API root and the ping."""

import msgspec
from sqlalchemy import Connection

from batchway.audience.base import make_read_handler
from batchway.contract.description import ON_ONE, CallDescription
from batchway.contract.links import Link
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response
from batchway.kit.clock import format_iso
from batchway.store.database import run


class _Contact(msgspec.Struct):
    company: str = ""
    addr1: str = ""
    addr2: str = ""
    city: str = ""
    state: str = ""
    zip: str = ""
    country: str = ""


class _Rates(msgspec.Struct):
    open_rate: int = 0
    bounce_rate: int = 0
    click_rate: int = 0


class _Root(msgspec.Struct, rename={"links": "_links"}):
    account_id: str
    login_id: str
    account_name: str
    email: str
    first_name: str
    last_name: str
    username: str
    avatar_url: str
    role: str
    member_since: str
    pricing_plan_type: str
    first_payment: str
    account_timezone: str
    account_industry: str
    contact: _Contact
    pro_enabled: bool
    last_login: str
    total_subscribers: int
    industry_stats: _Rates
    links: list[Link]


class _Ping(msgspec.Struct):
    health_status: str


def _get_ping(_request: Request, _caller: Caller, _connection: Connection) -> Response:
    """Answer `GET /ping`, by which clients check their API key."""
    return Response(200, _Ping("Everything's Chimpy!"))


def _get_root(_request: Request, caller: Caller, connection: Connection) -> Response:
    """Answer `GET /` with the account."""
    row = run(
        connection,
        """
        SELECT a.created_at, COALESCE(SUM(s.subscribed_count), 0) AS subscribers
        FROM accounts AS a LEFT JOIN list_stats AS s ON s.account_id = a.id
        WHERE a.id = :account_id
        GROUP BY a.id, a.created_at
        """,
        account_id=caller.account_id,
    ).one()
    return Response(
        200,
        _Root(
            account_id=f"{caller.account_id:024x}",
            login_id=f"{caller.account_id:010d}",
            account_name=caller.account_name,
            email="",
            first_name="",
            last_name="",
            username=caller.account_name,
            avatar_url="",
            role="owner",
            member_since=format_iso(row.created_at),
            pricing_plan_type="forever_free",
            first_payment="",
            account_timezone="UTC",
            account_industry="",
            contact=_Contact(),
            pro_enabled=False,
            last_login="",
            total_subscribers=int(row.subscribers),
            industry_stats=_Rates(),
            links=_render_links(caller),
        ),
    )


def _render_links(caller: Caller) -> list[Link]:
    paths = ("lists", "batches")
    itself = caller.links.build_link("self", "GET", "/", "Definitions/Root/Response.json")
    return [itself, *(caller.links.build_link(path, "GET", f"/{path}") for path in paths)]


_TAG = "Account"

ROUTES = (
    (
        "GET",
        "/",
        make_read_handler(_get_root),
        CallDescription(
            "The account that the API key belongs to.", query=ON_ONE, reply=_Root, tag=_TAG
        ),
    ),
    (
        "GET",
        "/ping",
        make_read_handler(_get_ping),
        CallDescription("Check that the API key works.", query=ON_ONE, reply=_Ping, tag=_TAG),
    ),
)
