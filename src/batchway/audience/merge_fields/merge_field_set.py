"""The merge fields of a list, as a set of calls needs them: to read and render values."""

from batchway.audience.list_collection import ListCollection, ListScope
from batchway.audience.merge_fields.rows import find_merge_fields
from batchway.audience.merge_fields.rules import MergeRules


class MergeFieldSet(ListCollection):
    """All merge fields of the list, as rules. A change of one makes the calls' plan stale."""

    def __init__(self) -> None:
        self.rules = MergeRules(())

    def load(self, scope: ListScope) -> None:
        """Read the fields."""
        fields = find_merge_fields(scope.connection, scope.account_id, scope.list_id)
        self.rules = MergeRules(fields)
