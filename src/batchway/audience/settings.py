"""What the operator decides about the audience."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AudienceSettings:
    """Given to the built-in target when it is made."""

    refuses_fake_addresses: bool = False
