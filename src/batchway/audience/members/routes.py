"""The routes of the members of a list."""

from batchway.audience.base import make_read_handler
from batchway.audience.members.base import MemberHandler
from batchway.audience.members.body import MemberBody
from batchway.audience.members.calls import (
    PATCH_STATUSES,
    AddBody,
    UpdateBody,
    UpsertBody,
    archive_member,
    delete_member,
    get_member,
    make_path_handler,
    read_add,
    read_update,
    read_upsert,
)
from batchway.audience.members.collection import FILTERS, SORT_ORDER, Members, get_members
from batchway.audience.members.descriptions import MEMBER_DETAILS, SKIP_MERGE_VALIDATION
from batchway.audience.members.member import STATUSES
from batchway.contract.description import ON_ONE, ON_PAGE, CallDescription, build_sort_parameters

_ALL = "/lists/{list_id}/members"
_ONE = "/lists/{list_id}/members/{subscriber_hash}"

_TAG = "Members"
_DETAILS = MEMBER_DETAILS | {"status": {"enum": [*STATUSES]}}
_QUERY = (
    *ON_PAGE,
    *(filter_.parameter for filter_ in FILTERS),
    *build_sort_parameters(*SORT_ORDER.columns, default=SORT_ORDER.default),
)

ROUTES = (
    (
        "GET",
        _ALL,
        make_read_handler(get_members, items="members"),
        CallDescription(
            "The members of a list, oldest first unless they are sorted.",
            query=_QUERY,
            reply=Members,
            tag=_TAG,
        ),
    ),
    (
        "POST",
        _ALL,
        MemberHandler(read_add),
        CallDescription(
            "Add a member to a list.",
            notes="An address that exists already is refused, unless its member is archived.",
            query=(SKIP_MERGE_VALIDATION,),
            body=AddBody,
            body_details=_DETAILS,
            body_example={
                "email_address": "ann@example.com",
                "status": "subscribed",
                "merge_fields": {"FNAME": "Ann", "LNAME": "Lee"},
            },
            reply=MemberBody,
            tag=_TAG,
        ),
    ),
    (
        "GET",
        _ONE,
        make_path_handler(get_member, row_count=0),
        CallDescription("One member.", query=ON_ONE, reply=MemberBody, tag=_TAG),
    ),
    (
        "PUT",
        _ONE,
        MemberHandler(read_upsert),
        CallDescription(
            "Add a member, or update the one that exists.",
            query=(SKIP_MERGE_VALIDATION,),
            body=UpsertBody,
            body_details=_DETAILS
            | {
                "status_if_new": {"enum": [*STATUSES]},
                "tags": {"description": "Tags of a new member. Those of others do not change."},
            },
            body_example={
                "email_address": "ann@example.com",
                "status_if_new": "subscribed",
                "merge_fields": {"FNAME": "Ann"},
            },
            reply=MemberBody,
            tag=_TAG,
        ),
    ),
    (
        "PATCH",
        _ONE,
        MemberHandler(read_update),
        CallDescription(
            "Update a member that exists.",
            query=(SKIP_MERGE_VALIDATION,),
            body=UpdateBody,
            body_details=MEMBER_DETAILS | {"status": {"enum": [*PATCH_STATUSES]}},
            body_example={"merge_fields": {"FNAME": "Anna"}},
            reply=MemberBody,
            tag=_TAG,
        ),
    ),
    (
        "DELETE",
        _ONE,
        make_path_handler(archive_member, row_count=1),
        CallDescription("Archive a member. It can be added again.", errors=(405,), tag=_TAG),
    ),
    (
        "POST",
        f"{_ONE}/actions/delete-permanent",
        make_path_handler(delete_member, row_count=1),
        CallDescription(
            "Delete a member permanently. Its address cannot be added again.", tag=_TAG
        ),
    ),
)
