"""Signatures over workers' addresses, as the official worker verifies them.

They say nothing but the address, so that one is made for each address and used for all requests.
"""

import base64
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from mercato.wire.worker import signed_text

KEY_NAME: Final = "serverless"
KEY_BITS: Final = 2048
KEPT_MAX: Final = 100_000


def new_key() -> str:
    """A private key as text."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


class Signer:
    """Signs addresses with one key."""

    def __init__(self, pem: str) -> None:
        """`pem` is a private RSA key. Raises ValueError when it is not."""
        key = load_pem_private_key(pem.encode(), password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("the signing key is not an RSA key")  # noqa: TRY004 - a wrong value
        self._key = key
        self._signatures: dict[str, str] = {}
        self.signed = 0
        """How often the key was used."""

    @property
    def public(self) -> bytes:
        """The public key, for workers."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def signature(self, url: str) -> str:
        """The signature over an address, in base64."""
        found = self._signatures.get(url)
        if found is None:
            if len(self._signatures) >= KEPT_MAX:
                self._signatures.clear()
            signed = self._key.sign(signed_text(url), PKCS1v15(), SHA256())
            found = self._signatures[url] = base64.b64encode(signed).decode()
            self.signed += 1
        return found
