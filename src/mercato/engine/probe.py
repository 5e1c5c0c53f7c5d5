"""Whether a worker is still there: it answers HTTP, whatever it says."""

import ssl
from typing import Final

from mercato.http.client import Origin, OriginFailed, Pool

PROBE_S: Final = 2.0


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# Nothing secret is sent: who answers does not matter here, only that somebody does.
_ANYBODY: Final = _unverified()


async def answers(url: str) -> bool:
    """Whether there is an answer within two seconds.

    A bare connection would prove nothing: the host's port mapping accepts it for a dead container.
    """
    try:
        pool = Pool(Origin.of(url), _ANYBODY)
        await pool.fetch("GET", "/health", timeout_s=PROBE_S)
    except (OriginFailed, ValueError):
        return False
    pool.close()
    return True
