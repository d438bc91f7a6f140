"""The settings of the operator that concern the audience."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AudienceSettings:
    """The settings that the built-in target is created with."""

    refuses_fake_addresses: bool = False
