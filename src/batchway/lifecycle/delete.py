"""Delete: a batch is hidden from its owner at once; the sweep removes its rows and its archive.

Chunks that have committed keep their effect; other chunks are not executed any more.
"""

from batchway.lifecycle.admit import admit_next
from batchway.lifecycle.parts import Parts
from batchway.store import accounts, batches


def delete_batch(parts: Parts, account_id: int, public_id: str) -> bool:
    """Delete a batch in any status; return False if the account has no such batch."""
    with parts.database.write() as connection:
        accounts.lock(connection, account_id)
        batch = batches.find(connection, account_id, public_id, parts.get_results_since())
        if batch is None or not batches.mark_deleted(connection, batch):
            return False
        admit_next(parts, connection, account_id)
    return True
