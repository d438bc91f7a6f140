"""Sealing: texts that are stored encrypted, and that nobody can change unseen."""

import base64
from dataclasses import dataclass, field

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_KEY_BYTES = 32


class Unsealable(Exception):
    """Nothing could be opened; its text is written for the operator."""

    def __init__(self, purpose: str) -> None:
        super().__init__(
            f"What was sealed as {purpose!r} cannot be opened: it was sealed with a key that is "
            "missing here, or is damaged. Put the old secret key behind the new one, or make "
            "what was sealed anew."
        )


@dataclass(frozen=True)
class Sealer:
    """Seals with the first key, opens with any: a key is rotated by putting a new one first.

    `purpose` says what a text is for; what was sealed for one purpose opens for no other. Raises
    ValueError when there is no key, or an empty one.
    """

    keys: tuple[bytes, ...] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.keys or not all(self.keys):
            raise ValueError("Sealing needs at least one key, and none may be empty.")

    def seal(self, text: str, purpose: str) -> bytes:
        """The text, encrypted; different each time."""
        return self._box(purpose).encrypt(text.encode())

    def open(self, sealed: bytes, purpose: str) -> str:
        """What was sealed for this purpose. Raises Unsealable."""
        try:
            return self._box(purpose).decrypt(sealed).decode()
        except InvalidToken:
            raise Unsealable(purpose) from None

    def _box(self, purpose: str) -> MultiFernet:
        return MultiFernet([Fernet(_derived(key, purpose)) for key in self.keys])


def _derived(key: bytes, purpose: str) -> bytes:
    derivation = HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=purpose.encode())
    return base64.urlsafe_b64encode(derivation.derive(key))
