"""Posts notices to addresses that strangers gave us, and to no address that is not public.

A name is resolved once and the connection made to the address that was checked, so that a name that
means another machine a moment later leads nowhere. Redirects are not followed.
"""

import ipaddress
import socket
from collections.abc import Mapping
from functools import cached_property
from urllib.parse import urlsplit

import httpx2

from mercato.market.notice import TIMEOUT_S, URL_MAX


class Unreachable(Exception):  # noqa: N818 - what happened to one attempt
    """Nobody could be told; the message says why."""


class Messenger:
    """Posts to anybody's URL."""

    def __init__(self, *, anywhere: bool = False) -> None:
        """With `anywhere`, plain HTTP and private addresses too: for a market of one's own."""
        self._anywhere = anywhere

    @cached_property
    def _http(self) -> httpx2.Client:
        # Made for the first post: reading who is trusted takes longer than any objection.
        return httpx2.Client(
            timeout=TIMEOUT_S,
            follow_redirects=False,
            trust_env=False,
            # No connection is kept: one that was checked for a name must not carry another's.
            limits=httpx2.Limits(max_keepalive_connections=0),
        )

    def objection(self, url: str) -> str | None:
        """Why nothing can be posted to a URL; None when it seems that it can."""
        if len(url) > URL_MAX:
            return f"A webhook's URL has at most {URL_MAX} characters."
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return f"{url!r} is not a URL."
        schemes = {"https", "http"} if self._anywhere else {"https"}
        if parts.scheme not in schemes or not parts.hostname or port == 0:
            return (
                f"A webhook's URL begins with {' or '.join(sorted(schemes))}:// and names a host."
            )
        if parts.username or parts.password:
            return "A webhook's URL carries no user name or password."
        return None

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Post JSON; the status of the answer.

        Raises:
            Unreachable: when nobody answered, or the address is not public.
        """
        objection = self.objection(url)
        if objection is not None:
            raise Unreachable(objection)
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = self._address(host, port)
        shown = f"[{address}]" if ":" in address else address
        there = parts._replace(netloc=f"{shown}:{port}").geturl()
        asked = {"Content-Type": "application/json", **headers, "Host": parts.netloc}
        try:
            with self._http.stream(
                "POST",
                there,
                content=body,
                headers=asked,
                extensions={"sni_hostname": host},
            ) as answer:
                return answer.status_code
        except httpx2.HTTPError as problem:
            raise Unreachable(f"{type(problem).__name__}: {problem}"[:500]) from problem

    def _address(self, host: str, port: int) -> str:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as problem:
            raise Unreachable(f"{host} cannot be found: {problem}") from problem
        addresses = [str(one[4][0]) for one in found]
        if not self._anywhere and not all(_is_public(one) for one in addresses):
            raise Unreachable(f"{host} is not a public address.")
        return addresses[0]


def _is_public(address: str) -> bool:
    """Whether an address is one of the public Internet, however it is written."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(parsed, "ipv4_mapped", None) or getattr(parsed, "sixtofour", None) or parsed
    return bool(inner.is_global and parsed.is_global and not inner.is_multicast)
