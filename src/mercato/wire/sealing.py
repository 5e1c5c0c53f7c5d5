"""The market's signature: Ed25519, keys and signatures in hexadecimal."""

from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class Signer:
    """Signs in the market's name."""

    def __init__(self, seed: bytes) -> None:
        """Use the key pair that grows from 32 secret bytes."""
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def public_key(self) -> str:
        """The key by which anyone can check a signature."""
        return self._key.public_key().public_bytes_raw().hex()

    def sign(self, hashed: str) -> str:
        """The signature of a hash."""
        return self._key.sign(bytes.fromhex(hashed)).hex()


class Checker:
    """Checks what a market signed."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        """Trust one public key."""
        self._key = key

    @classmethod
    def of(cls, public_key: str) -> Self:
        """Trust a public key given in hexadecimal.

        Raises:
            ValueError: when it is none.
        """
        return cls(Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)))

    def is_signed(self, hashed: str, signature: str) -> bool:
        """Whether the market signed a hash; nonsense is signed by nobody."""
        try:
            self._key.verify(bytes.fromhex(signature), bytes.fromhex(hashed))
        except (InvalidSignature, ValueError):
            return False
        return True
