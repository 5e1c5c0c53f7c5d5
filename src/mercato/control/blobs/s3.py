"""Files in a bucket of any S3-compatible service: links and forms signed by AWS Signature V4.

The signature is what Amazon documents as "Authenticating Requests: Using Query Parameters" and
"Browser-Based Uploads Using POST"; nothing here is Amazon's alone. The service must know POST
Object, by which the official client uploads.
"""

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urlsplit

import httpx2
import msgspec

from mercato.control.blobs.blobs import LINK_S, BlobsTrouble, Form, checked

TIMEOUT_S: Final = 20.0
ALGORITHM: Final = "AWS4-HMAC-SHA256"
_UNREAD: Final = "UNSIGNED-PAYLOAD"


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """Where the files lie, and who may ask for them."""

    url: str
    """The bucket's own address: `https://s3.example/bucket` or `https://bucket.s3.example`."""
    name: str
    region: str
    access_key: str
    secret_key: str
    prefix: str = ""
    """Before every name: `mercato/`, say, in a bucket that is shared."""


class S3:
    """One bucket."""

    def __init__(self, bucket: Bucket) -> None:
        """Nothing is asked before it is needed."""
        self._bucket = bucket
        self._http = httpx2.Client(timeout=TIMEOUT_S)

    def form(self, name: str, size: int, origin: str, now_ms: int) -> Form:  # noqa: ARG002 - it has an address of its own
        """A form whose policy names the bucket, the key, the size and an end."""
        at = datetime.fromtimestamp(now_ms / 1_000, UTC)
        ends = datetime.fromtimestamp(now_ms / 1_000 + LINK_S, UTC)
        fields = {
            "key": self._bucket.prefix + checked(name),
            "x-amz-algorithm": ALGORITHM,
            "x-amz-credential": f"{self._bucket.access_key}/{self._scope(at)}",
            "x-amz-date": _moment(at),
        }
        conditions: list[object] = [
            {"bucket": self._bucket.name},
            *({name: value} for name, value in fields.items()),
            ["content-length-range", size, size],
        ]
        told = {"expiration": f"{ends:%Y-%m-%dT%H:%M:%S.000Z}", "conditions": conditions}
        policy = base64.b64encode(msgspec.json.encode(told)).decode()
        signed = {"policy": policy, "x-amz-signature": self._sign(policy, at)}
        return Form(url=f"{self._bucket.url.rstrip('/')}/", fields=fields | signed)

    def link(self, name: str, origin: str, now_ms: int) -> str:  # noqa: ARG002 - it has an address of its own
        """A presigned GET."""
        return self.presigned("GET", name, now_ms)

    def has(self, name: str, now_ms: int) -> bool:
        """Whether it was brought: asked of the service."""
        return self._ask("HEAD", name, now_ms, {200: True, 404: False})

    def remove(self, name: str, now_ms: int) -> None:
        """Forget a file."""
        self._ask("DELETE", name, now_ms, {200: True, 204: True, 404: True})

    def presigned(self, method: str, name: str, now_ms: int, expires_s: int = LINK_S) -> str:
        """A URL that lets whoever has it use one method on one file for a while."""
        at = datetime.fromtimestamp(now_ms / 1_000, UTC)
        scope = self._scope(at)
        parts = urlsplit(f"{self._bucket.url.rstrip('/')}/{self._bucket.prefix}{checked(name)}")
        path = quote(parts.path, safe="/~")
        asked = {
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{self._bucket.access_key}/{scope}",
            "X-Amz-Date": _moment(at),
            "X-Amz-Expires": str(expires_s),
            "X-Amz-SignedHeaders": "host",
        }
        query = "&".join(f"{key}={quote(asked[key], safe='~')}" for key in sorted(asked))
        request = "\n".join([method, path, query, f"host:{parts.netloc}", "", "host", _UNREAD])
        digest = hashlib.sha256(request.encode()).hexdigest()
        signature = self._sign("\n".join([ALGORITHM, _moment(at), scope, digest]), at)
        return f"{parts.scheme}://{parts.netloc}{path}?{query}&X-Amz-Signature={signature}"

    def _ask(self, method: str, name: str, now_ms: int, answers: dict[int, bool]) -> bool:
        try:
            status = self._http.request(method, self.presigned(method, name, now_ms)).status_code
        except httpx2.TransportError as lost:
            raise BlobsTrouble(f"the store of uploads cannot be reached: {lost}") from None
        if status not in answers:
            raise BlobsTrouble(
                f"the store of uploads answered {status} to {method}; check its url, region and"
                " keys, and that they may get, put, list and delete"
            )
        return answers[status]

    def _scope(self, at: datetime) -> str:
        return f"{at:%Y%m%d}/{self._bucket.region}/s3/aws4_request"

    def _sign(self, text: str, at: datetime) -> str:
        key = f"AWS4{self._bucket.secret_key}".encode()
        for part in self._scope(at).split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _moment(at: datetime) -> str:
    return f"{at:%Y%m%dT%H%M%SZ}"
