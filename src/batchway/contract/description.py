"""Descriptions of calls, which stand beside their routes. The documentation is built from them."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from batchway import limits


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A variable of the path, a parameter of the query string, or a header.

    `description` is one or two sentences. `choices` are the only values that are accepted, if
    there are any. `format` is a format of JSON Schema, such as `date-time`.
    """

    name: str
    description: str
    kind: Literal["string", "integer", "boolean"] = "string"
    choices: tuple[str, ...] = ()
    format: str = ""
    minimum: int | None = None
    maximum: int | None = None
    default: str | int | bool | None = None
    example: str | int | None = None


class CallDescription(msgspec.Struct, frozen=True):
    """The description of one call: its parameters, body, replies and errors.

    `summary` is one sentence, and `notes` are further sentences. `body` and `reply` are structs. A
    call without a `reply` is answered with 204. `other_replies` are replies that the client selects
    with a parameter. A body that `is_body_partial` changes only the fields that it contains.
    `body_details` adds JSON Schema keywords to fields of the body, by dotted path such as
    `members.status`. `body_types` and `reply_types` are the media types that the call accepts and
    sends besides JSON. `errors` are the statuses of the problems of this call. The document adds
    those that many calls share, such as 401, or 404 where the path has variables. `tag` is the
    group in the documentation; without it, the group is the title of the route table.
    """

    summary: str
    query: tuple[Parameter, ...] = ()
    body: type | None = None
    reply: type | None = None
    other_replies: tuple[type, ...] = ()
    status: int | None = None
    tag: str = ""
    notes: str = ""
    errors: tuple[int, ...] = ()
    headers: tuple[Parameter, ...] = ()
    is_body_partial: bool = False
    body_details: Mapping[str, Mapping[str, Any]] = {}
    body_example: Any = None
    body_types: tuple[str, ...] = ()
    reply_types: tuple[str, ...] = ()

    @property
    def replies(self) -> tuple[type, ...]:
        """All structs that can be the reply, the usual one first."""
        return (self.reply, *self.other_replies) if self.reply else ()

    @property
    def reply_status(self) -> int:
        """The status of a successful reply."""
        return self.status or (200 if self.reply else 204)


COUNT = Parameter(
    name="count",
    description="How many items to answer with at most. More than the maximum gives the maximum.",
    kind="integer",
    minimum=0,
    maximum=limits.page_count_max,
    default=limits.page_count_default,
)
OFFSET = Parameter(
    name="offset",
    description="How many items to leave out at the beginning.",
    kind="integer",
    minimum=0,
    default=0,
)
FIELDS = Parameter(
    name="fields",
    description="Answer with these fields only: dotted paths with commas between, such as "
    "`total_items,lists.name`. Not together with `exclude_fields`.",
)
EXCLUDE_FIELDS = Parameter(
    name="exclude_fields",
    description="Leave these fields out: dotted paths with commas between, such as `_links`. "
    "Not together with `fields`.",
)
ON_ONE = (FIELDS, EXCLUDE_FIELDS)  # the parameters of every GET
ON_PAGE = (COUNT, OFFSET, *ON_ONE)  # the parameters of every GET of a collection


def build_sort_parameters(
    *names: str, default: Literal["ASC", "DESC"]
) -> tuple[Parameter, Parameter]:
    """Return the parameters `sort_field`, which has these names as choices, and `sort_dir`."""
    return (
        Parameter(name="sort_field", description="The field to sort by.", choices=names),
        Parameter(
            name="sort_dir",
            description="Sort upwards (ASC) or downwards (DESC).",
            choices=("ASC", "DESC"),
            default=default,
        ),
    )


_VARIABLES = (
    Parameter(name="list_id", description="The id of a list.", example="a1b2c3d4e5"),
    Parameter(
        name="subscriber_hash",
        description="The member: the MD5 hash of the address in lower case, the address itself, "
        "or the `contact_id`.",
        example="62eeb292278cc15f5817cb78f7790b08",
    ),
    Parameter(name="merge_id", description="The number of a merge field in its list.", example="2"),
    Parameter(name="batch_id", description="The id of a batch.", example="5cfa0d22b8"),
    Parameter(
        name="batch_webhook_id", description="The id of a batch webhook.", example="0d5ea90b3f"
    ),
    Parameter(
        name="position",
        description="Which operation of the batch; the first one is 0.",
        example="0",
    ),
)
_VARIABLES_BY_NAME = {each.name: each for each in _VARIABLES}


def describe_path_variable(name: str) -> Parameter:
    """Return the description of a `{variable}` of a path template."""
    unknown = Parameter(name=name, description=f"The {name.replace('_', ' ')}.", example="1")
    return _VARIABLES_BY_NAME.get(name, unknown)
