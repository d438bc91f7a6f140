"""Sealing: texts are stored encrypted and authenticated, so that changes are detected."""

import base64
from dataclasses import dataclass, field

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_KEY_BYTES = 32


class Unsealable(Exception):
    """A sealed text could not be opened; the message is written for the operator."""

    def __init__(self, purpose: str) -> None:
        super().__init__(
            f"The stored {purpose} cannot be decrypted: the secret key that encrypted it is not "
            "configured, or the data is damaged. Add the old key after the new one in the setting "
            f"secret_key, or create a new {purpose}."
        )


@dataclass(frozen=True)
class Sealer:
    """Seals with the first key, and opens with any. To rotate a key, put the new one first.

    A text that was sealed for one `purpose` cannot be opened for another. Raises ValueError if
    there is no key, or an empty one.
    """

    keys: tuple[bytes, ...] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.keys or not all(self.keys):
            raise ValueError("Sealing needs at least one key, and none may be empty.")

    def seal(self, text: str, purpose: str) -> bytes:
        """Encrypt a text. The result is different each time."""
        return self._make_ciphers(purpose).encrypt(text.encode())

    def open(self, sealed: bytes, purpose: str) -> str:
        """Return the text that was sealed for this purpose. Raises Unsealable."""
        try:
            return self._make_ciphers(purpose).decrypt(sealed).decode()
        except InvalidToken:
            raise Unsealable(purpose) from None

    def _make_ciphers(self, purpose: str) -> MultiFernet:
        return MultiFernet([Fernet(_derive_key(key, purpose)) for key in self.keys])


def _derive_key(key: bytes, purpose: str) -> bytes:
    derivation = HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=purpose.encode())
    return base64.urlsafe_b64encode(derivation.derive(key))
