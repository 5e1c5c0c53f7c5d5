"""From an HTTP request to a route's function and back: the only place that knows HTTP's ways.

Paths: repeated slashes are one, a trailing slash is optional, nothing is ever redirected (a client
would repeat a PUT as a GET). Every answer, the errors above all, is JSON of exactly
`application/json` unless its route says otherwise.
"""

import math
import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import psycopg
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mercato.control.api import arguments, audit, repeats
from mercato.control.api.auth import authorize, key_of
from mercato.control.api.call import Call, is_official_cli
from mercato.control.api.caller import Caller
from mercato.control.api.errors import (
    BodyTooLarge,
    UnknownPath,
    WrongMethod,
    error_body,
    status_of,
)
from mercato.control.api.paths import Methods, Paths, normalised
from mercato.control.api.route import Route
from mercato.control.api.services import Services
from mercato.control.blobs.blobs import BlobsTrouble
from mercato.control.db import AWAY
from mercato.market import errors
from mercato.market.access import Permission

JSON: Final = "application/json"
"""Exactly this: the official client compares the whole header."""

_log = structlog.get_logger("mercato.api")


class Api:
    """The ASGI application that serves the table of routes."""

    def __init__(self, services: Services, routes: Sequence[Route]) -> None:
        """Serve `routes` on `services`."""
        self._services = services
        self._paths = Paths(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        assert scope["type"] == "http", scope["type"]
        request = Request(scope, receive)
        request_id = secrets.token_hex(8)
        began_ms = self._services.clock.now_ms()
        seen = _Seen()
        try:
            response = await self._answer(request, request_id, seen)
        except ClientDisconnect:
            return
        except Exception as problem:  # noqa: BLE001 - whatever went wrong is told and logged
            shown = seen.route is not None and seen.route.refused_in_body
            in_body = shown and is_official_cli(request.headers.get("user-agent", ""))
            response = _refuse(problem, request_id, in_body=in_body)
        response.headers["X-Request-Id"] = request_id
        name = seen.route.path if seen.route else "unknown"
        elapsed_ms = self._services.clock.now_ms() - began_ms
        self._services.observe(request.method, name, response.status_code, elapsed_ms)
        # The route's pattern and never the URL: a query can carry a key.
        _log.debug(
            "request",
            id=request_id,
            method=request.method,
            route=name,
            status=response.status_code,
            ms=elapsed_ms,
            account=seen.caller.account if seen.caller else None,
        )
        await response(scope, receive, send)

    async def _answer(self, request: Request, request_id: str, seen: "_Seen") -> Response:
        path = normalised(request.scope["path"])
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": allowed(self._methods(path)[0])})
        route, in_path = self._route(request.method, path)
        seen.route = route
        raw = b"" if route.streams else await self._raw(request)
        body = _decoded(raw)
        query = dict(request.query_params)
        now_ms = self._services.clock.now_ms()
        secret = key_of(request.headers, query, body)
        ip = request.client.host if request.client else ""
        caller = await self._caller(route, secret, ip, now_ms)
        seen.caller = caller
        self._limit(route, caller, ip, now_ms)
        given = arguments.merged(in_path, query, body, route.takes)
        authorize(route, caller, given)
        call = Call(
            services=self._services,
            caller=caller,
            arguments=given,
            now_ms=now_ms,
            ip=ip,
            user_agent=request.headers.get("user-agent", ""),
            request_id=request_id,
            raw=raw,
            signature=request.headers.get("stripe-signature", ""),
            repeat_key=request.headers.get("idempotency-key") or None,
            secret=secret,
            origin=self._services.public_url or _reached(request, None),
            reached=_reached(request, self._services.public_url),
            stream=request.stream() if route.streams else None,
            content_type=request.headers.get("content-type", ""),
        )
        if caller is not None:
            await audit.saw(call)
        asked = arguments.read(route.takes, given)
        if route.mutates and caller is not None and call.repeat_key:
            return await repeats.once(call, route, lambda kept: self._do(route, kept, asked))
        return await self._do(route, call, asked)

    async def _do(self, route: Route, call: Call, asked: object) -> Response:
        answer = await route.handle(call, asked)
        if route.mutates:
            await self._services.offers.seen()
            if call.caller is not None:
                await audit.record(call, route)
        return as_response(answer)

    def _methods(self, path: str) -> tuple[Methods, Mapping[str, Any]]:
        methods, in_path = self._paths.find(path)
        if methods is None:
            raise UnknownPath(f"There is nothing at {path[:256]}. The routes are listed at /docs.")
        return methods, in_path

    def _route(self, method: str, path: str) -> tuple[Route, Mapping[str, Any]]:
        methods, in_path = self._methods(path)
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            raise NotThisWay(path, method, allowed(methods))
        return route, in_path

    async def _raw(self, request: Request) -> bytes:
        limit = self._services.body_bytes_max
        too_large = BodyTooLarge(f"The body is larger than {limit} bytes.")
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > limit:
            raise too_large
        raw = bytearray()
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > limit:
                raise too_large
        return bytes(raw)

    async def _caller(
        self, route: Route, secret: str | None, ip: str, now_ms: int
    ) -> Caller | None:
        """Whose key came; who guesses keys is limited like whoever has none."""
        if secret is None or (route.permission is Permission.PUBLIC and not route.knows_caller):
            return None
        try:
            return await self._services.keys.caller(secret)
        except errors.NotAuthenticated:
            self._limit(route, None, ip, now_ms)
            raise

    def _limit(self, route: Route, caller: Caller | None, ip: str, now_ms: int) -> None:
        who = f"key:{caller.key}" if caller else f"ip:{ip}"
        wait_s = self._services.limits.wait_s(who, f"{route.method} {route.path}", now_ms)
        if wait_s > 0:
            raise TooSoon(wait_s)


def allowed(methods: Methods) -> str:
    """The methods of a path, as the `Allow` header lists them."""
    return ", ".join(sorted({*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"}))


class NotThisWay(WrongMethod):
    """The path exists for other methods, which the answer lists."""

    def __init__(self, path: str, method: str, allow: str) -> None:
        """`method` is not one of `allow`."""
        self.allow = allow
        super().__init__(f"{path} takes {allow} and not {method}.")


class TooSoon(errors.TooMany):
    """The rate limit of a route was reached."""

    def __init__(self, wait_s: float) -> None:
        """Come back after `wait_s`."""
        self.wait_s = max(1, math.ceil(wait_s))
        super().__init__(f"Too many requests: try again in {self.wait_s} s.")


class _Seen:
    """What became known of a request before it was answered, for its log line."""

    def __init__(self) -> None:
        self.route: Route | None = None
        self.caller: Caller | None = None


def _reached(request: Request, public_url: str | None) -> str:
    """Where the caller says that it reached us; a proxy before us may have ended its TLS."""
    host = request.url.netloc
    if public_url is not None and urlsplit(public_url).netloc == host:
        return public_url.rstrip("/")
    return f"{request.url.scheme}://{host}"


def _decoded(raw: bytes) -> Any:
    if not raw.strip():
        return None
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise errors.InvalidRequest(f"The body is not valid JSON: {problem}") from None
    if body is not None and not isinstance(body, dict):
        raise errors.InvalidRequest("The body must be a JSON object, like {}.")
    return body


def as_response(answer: object) -> Response:
    """An answer as HTTP: responses as they are, bytes as encoded JSON, anything else encoded."""
    if isinstance(answer, Response):
        return answer
    raw = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
    return Response(raw, media_type=JSON)


def _refuse(problem: Exception, request_id: str, *, in_body: bool) -> Response:
    headers: dict[str, str] = {}
    match problem:
        case errors.Refusal():
            status, code, message = status_of(problem), problem.code, str(problem)
            if code == errors.NoSuchOffer.code:
                # Integrators look for the code in the text.
                message = f"{code}: {message}"
            headers = _headers(problem)
            if in_body and status not in _READ_BY_STATUS:
                return Response(error_body(code, message, also=True), 200, headers, JSON)
        case RecursionError():
            status, code = HTTPStatus.BAD_REQUEST, errors.InvalidRequest.code
            message = arguments.TOO_DEEP
        case psycopg.DataError() | UnicodeEncodeError():
            # NUL bytes, lone surrogates, numbers past 64 bits: found by the database first.
            status, code = HTTPStatus.BAD_REQUEST, errors.InvalidRequest.code
            message = "An argument has a character or a number that cannot be stored."
        case _ if isinstance(problem, AWAY):
            _log.error("database_unavailable", id=request_id, problem=str(problem))
            status, code = HTTPStatus.SERVICE_UNAVAILABLE, "database_unavailable"
            message = "The market's database cannot be reached now. Try again in a moment."
            headers["Retry-After"] = "1"
        case BlobsTrouble():
            _log.error("uploads_unavailable", id=request_id, problem=str(problem))
            status, code = HTTPStatus.SERVICE_UNAVAILABLE, "uploads_unavailable"
            message = "The market's store of uploads cannot be used now. Try again in a moment."
            headers["Retry-After"] = "5"
        case _:
            _log.error("request_failed", id=request_id, exc_info=problem)
            status, code = HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error"
            message = (
                f"Something went wrong on the server. Its operator finds it as {request_id!r}."
            )
    return Response(error_body(code, message), int(status), headers, JSON)


_READ_BY_STATUS: Final = frozenset({401, 429})
"""A key that is wrong and a limit that was reached, which clients act upon."""


def _headers(refusal: errors.Refusal) -> dict[str, str]:
    match refusal:
        case TooSoon():
            return {"Retry-After": str(refusal.wait_s)}
        case NotThisWay():
            return {"Allow": refusal.allow}
        case errors.NotAuthenticated():
            return {"WWW-Authenticate": "Bearer"}
        case _:
            return {}
