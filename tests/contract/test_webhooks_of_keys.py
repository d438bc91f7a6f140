"""A batch webhook belongs to the API key that created it, and is deleted with it."""

from dataclasses import replace

import httpx
import pytest
from sqlalchemy import text

from batchway.cli.api_keys import add_key
from batchway.kit.ids import hash_api_key
from batchway.store import accounts
from batchway.store.database import Database
from tests.contract.shared_servers import (
    Api,
    check_problem,
    execute_sql,
    get_database_url,
    open_tables,
)
from tests.contract.test_deliveries import wait_for_tried
from tests.receiver import Receiver, Reply
from tests.scenario import PING


@pytest.fixture
def other_key(own_api: Api, http: httpx.Client) -> Api:
    """Another key of the same account."""
    database = Database(get_database_url(own_api.server))
    try:
        with database.read() as connection:
            identity = accounts.identify(connection, own_api.server.key)
        assert identity
        key = add_key(database, identity.account, "second")
    finally:
        database.close()
    return Api(replace(own_api.server, key=key), http)


def get_key_number(api: Api) -> int:
    """Return the number of the key in `keys list`."""
    with open_tables(api.server) as connection:
        query = text("SELECT id FROM api_keys WHERE key_hash = :key_hash")
        found = connection.execute(query, {"key_hash": hash_api_key(api.server.key)})
        return int(found.scalar_one())


def test_revoking_a_key(own_api: Api, other_key: Api, receiver: Receiver) -> None:
    """The key's webhooks and their deliveries are deleted; those of other keys stay."""
    receiver.answer_posts(Reply(500))
    gone = [own_api.new_webhook(receiver.url) for _ in range(2)]
    stays, older = other_key.new_webhook(receiver.url), own_api.new_webhook(receiver.url)
    execute_sql(
        own_api.server,
        "UPDATE batch_webhooks SET api_key_id = NULL WHERE public_id = :id",
        id=older["id"],
    )
    other_key.call_ok("PATCH", f"/batch-webhooks/{gone[0]['id']}", {"signing_enabled": False})
    own_api.submit(PING)
    for webhook in (*gone, stays, older):
        wait_for_tried(own_api, webhook, "pending")

    printed = own_api.server.run_command("keys", "revoke", str(get_key_number(own_api))).stdout

    assert "was revoked, and its 2 batch webhooks were deleted." in printed
    left = other_key.call_ok("GET", "/batch-webhooks")["webhooks"]
    assert [stays["id"], older["id"]] == [webhook["id"] for webhook in left]
    for webhook in gone:
        reply = other_key.call("GET", f"/batch-webhooks/{webhook['id']}/deliveries")
        check_problem(reply, 404, "Resource Not Found")
    with open_tables(own_api.server) as connection:
        orphans = """
            SELECT count(*) FROM deliveries
            WHERE batch_webhook_id NOT IN (SELECT id FROM batch_webhooks)
        """
        assert 0 == connection.execute(text(orphans)).scalar_one()
    for webhook in left:
        other_key.call_ok("DELETE", f"/batch-webhooks/{webhook['id']}")
