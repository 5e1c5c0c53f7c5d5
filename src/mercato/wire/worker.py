"""Engine, client and worker: a ticket for one request, and what a worker reports.

The names are those that the official client and worker server use (contract, section 4). What
Mercato adds are fields that they pass on or ignore: `ticket` in a route's answer; `protocol`,
`slots`, `boot` and `sequence` in a report.
"""

import hashlib
import hmac
import json
from typing import Final

import msgspec

REPORT_VERSION: Final = "1.1.0"
"""The version of the official worker server whose reports these are."""

PROTOCOL: Final = 1
"""What our worker and engine say to each other beyond that; 0 is nothing."""

PROTOCOL_HEADER: Final = b"mercato-protocol"
"""On the answer to `/pubkey/`: the engine puts a `ticket` in every route's answer."""
CLOCK_HEADER: Final = b"mercato-clock-ms"
"""On answers to workers: the engine's clock, by which tickets expire. A worker's own clock may be
hours off."""

UNITS_MAX: Final = 1e12
"""No request is more work than this: beyond it, sums of many would be no numbers any more."""

TICKET_TTL_MS: Final = 60_000
"""How long a ticket is good for: the client uses it at once or asks for another."""

SEAL_BYTES: Final = 16


class AuthData(msgspec.Struct, kw_only=True):
    """The engine's answer to `/route/` when there is a worker; the client hands it on to that."""

    endpoint: str
    url: str
    cost: float
    reqnum: int
    """Never the same twice for one worker."""
    request_idx: int
    signature: str
    """Over `signed_text(url)` with RSA PKCS#1 v1.5 and SHA-256, in base64."""
    ticket: str = ""
    """`issued_ms.seal`; the seal is keyed BLAKE2b (RFC 7693), in hex, of that, of these fields and
    of the worker's number."""


def signed_text(url: str) -> bytes:
    """What the engine signs for the official worker: the worker's address, and nothing else."""
    return json.dumps({"url": url}, indent=4, sort_keys=True).encode()


def shared_secret(token: str) -> bytes:
    """What engine and worker alone know: the SHA-256 of the worker's `MASTER_TOKEN`.

    The engine is never told the token itself.
    """
    return hashlib.sha256(token.encode()).digest()


def issue(secret: bytes, auth: AuthData, worker: int, now_ms: int) -> str:
    """The `ticket` for a route's answer: good for one use, by one worker, for a minute.

    `secret` is `shared_secret` of the worker's token.
    """
    return f"{now_ms}.{_seal(secret, auth, worker, str(now_ms))}"


def issued_ms(secret: bytes, auth: AuthData, worker: int) -> int | None:
    """When the ticket in `auth` was issued; None when it was not, with this secret for this."""
    issued, _, seal = auth.ticket.partition(".")
    # What is not ASCII is no seal, and would not be compared.
    if seal.isascii() and hmac.compare_digest(_seal(secret, auth, worker, issued), seal):
        return int(issued)
    return None


def _seal(secret: bytes, auth: AuthData, worker: int, issued: str) -> str:
    # Lengths first: no two tickets have the same text.
    text = (
        f"{len(auth.endpoint)}:{auth.endpoint}{len(auth.url)}:{auth.url}"
        f"{float(auth.cost)!r}.{auth.reqnum}.{auth.request_idx}.{worker}.{issued}"
    )
    # On the path of every request, where HMAC-SHA-256 costs nearly three times as much.
    return hashlib.blake2b(text.encode(), key=secret, digest_size=SEAL_BYTES).hexdigest()


class Status(msgspec.Struct, kw_only=True):
    """Body of `POST /worker_status/`. Only `id` is always there: a start script reports less."""

    id: int
    mtoken: str = ""
    version: str = ""
    loadtime: float = 0.0
    """Seconds from start to ready; 0 before."""
    cur_load: float = 0.0
    new_load: float = 0.0
    rej_load: float = 0.0
    cur_perf: float = 0.0
    """Units served since the last report that arrived; not a rate."""
    max_perf: float = 0.0
    error_msg: str | None = ""
    cur_capacity: float = 0.0
    max_capacity: float = 0.0
    num_requests_working: int = 0
    num_requests_recieved: int = 0
    additional_disk_usage: float = 0.0
    disk_usage: float = 0.0
    working_request_idxs: list[int] = []
    url: str = ""

    protocol: int = 0
    slots: int = 0
    """Requests that it does at once; 0: as many as come, or not told."""
    boot: str = ""
    """Names this run of the worker."""
    sequence: int = 0
    """Rises with every report of a boot."""


class Finished(msgspec.Struct, kw_only=True):
    """One request that a worker is done with. Times are by its own clock; 0.0 is never."""

    request_idx: int
    success: bool = False
    status: str = ""
    """Success, Error, Cancelled or Rejected."""
    entered_queue_at: float = 0.0
    work_started_at: float = 0.0
    work_completed_at: float = 0.0


class DeleteRequests(msgspec.Struct, kw_only=True):
    """Body of `POST /delete_requests/`: forget these. May come twice."""

    worker_id: int
    mtoken: str = ""
    requests: list[Finished] = []
