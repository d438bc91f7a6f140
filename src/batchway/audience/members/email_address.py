"""Check that a text is an e-mail address, and return the form that is stored.

A strict pattern accepts nearly all addresses, and is fast. `email-validator` decides on all other
texts, such as quoted local parts and international names.
"""

import re

from email_validator import EmailNotValidError, validate_email

from batchway import limits
from batchway.contract.problems import Refused, invalid_field, invalid_resource

_LOCAL_CHARACTERS_MAX = 64
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
# A label with hyphens at its third and fourth place is encoded: `email-validator` decides on it.
_LABEL = r"(?!..--)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOT_ATOM = re.compile(
    rf"(?=[^@]{{1,{_LOCAL_CHARACTERS_MAX}}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+[A-Za-z]{{2,63}}"
)
# RFC 2606 reserves these domains: no mail can be delivered there.
_FAKE_DOMAIN = re.compile(
    r"(?:.+\.)?(?:example\.(?:com|net|org)|example|test|invalid|localhost)", re.IGNORECASE
)


def check_email_address(address: str, *, refuses_fake: bool) -> str:
    """Return the address to store: as given, without spaces around it. Its case is kept.

    Raises 400 Invalid Resource. Addresses at reserved domains such as example.com are accepted
    unless `refuses_fake`.
    """
    stored = address.strip(" ")
    # The length is checked first, so that a megabyte of text is never parsed.
    if len(stored) > limits.email_address_characters_max:
        raise _refuse_malformed()
    if not _DOT_ATOM.fullmatch(stored):
        _check_unusual(stored)
    if refuses_fake and _FAKE_DOMAIN.fullmatch(stored.rpartition("@")[2]):
        detail = f"{stored} looks fake or invalid, please enter a real email address."
        raise invalid_resource(detail)
    return stored


def _check_unusual(address: str) -> None:
    if not address.strip():
        raise invalid_field("email_address", "This value should not be blank.")
    try:
        validate_email(
            address,
            check_deliverability=False,
            allow_quoted_local=True,
            allow_smtputf8=False,  # a domain may be international, the part before it may not
            test_environment=True,  # .test is accepted here as it is by the pattern
            strict=True,
        )
    except (EmailNotValidError, UnicodeError):
        raise _refuse_malformed() from None
    if "." not in address.rpartition("@")[2]:
        raise _refuse_malformed()


def _refuse_malformed() -> Refused:
    return invalid_resource("Please provide a valid email address.")
