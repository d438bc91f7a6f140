"""The documentation of the fields of a member in request bodies."""

from collections.abc import Mapping
from typing import Any

from batchway.contract.description import Parameter

SKIP_MERGE_VALIDATION = Parameter(
    name="skip_merge_validation",
    description="Take a member without values for required merge fields, and incomplete addresses.",
    kind="boolean",
)

_IP = {"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
_MOMENT = {"format": "date-time"}

# JSON Schema keywords by field, for every body that describes a member.
MEMBER_DETAILS: dict[str, Mapping[str, Any]] = {
    "email_address": {"format": "email"},
    "email_type": {"enum": ["html", "text"]},
    "merge_fields": {"description": "Values by the tag of a merge field of the list."},
    "interests": {"description": "Not supported yet: leave it out, or empty.", "maxProperties": 0},
    "marketing_permissions": {"description": "Not supported yet.", "maxItems": 0},
    "location.latitude": {"minimum": -90, "maximum": 90},
    "location.longitude": {"minimum": -180, "maximum": 180},
    "ip_signup": _IP,
    "timestamp_signup": _MOMENT,
    "ip_opt": _IP,
    "timestamp_opt": _MOMENT,
}
