"""One call of the public API, described but not made: both clients send the same descriptions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import msgspec

from mercato.sdk.errors import ServerFailed, failure

T = TypeVar("T")

PREFIX: Final = "/api/v0"


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """Where a request goes, what it carries, and how its answer is read."""

    method: str
    path: str
    """Below `/api/v0`, unless it begins with `/api/` or stands at the `root`."""
    read: Callable[[Any], T]
    """Turns the decoded answer into what the caller wants."""
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    repeatable: bool = True
    """True when making it twice does what making it once does. A call that is not carries a name
    of its own, by which the server knows it again when its answer was lost."""
    once: bool = False
    """Nobody knows it again by that name: it is not repeated once it may have arrived."""
    root: bool = False
    """The path is the whole path: the engine's calls stand at the server's root."""

    @property
    def url_path(self) -> str:
        """The whole path on the server."""
        complete = self.root or self.path.startswith("/api/")
        return self.path if complete else PREFIX + self.path

    def parameters(self) -> dict[str, str]:
        """The query string's parameters: text as it is, anything else as JSON."""
        return {
            name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
            for name, value in self.query.items()
            if value is not None
        }


def whole(answer: Any) -> Any:
    """The answer as it is."""
    return answer


def done(_answer: Any) -> None:
    """Nothing: that it was answered is all there is to know."""


def one(shape: type[T], key: str | None = None) -> Callable[[Any], T]:
    """A reader of one object, or of the object under `key`."""
    return lambda answer: convert(answer if key is None else answer[key], shape)


def many(shape: type[T], key: str | None = None) -> Callable[[Any], list[T]]:
    """A reader of a list, or of the list under `key`."""

    def read(answer: Any) -> list[T]:
        rows = answer[key] if key is not None and isinstance(answer, dict) else answer
        return convert(rows, list[shape])  # type: ignore[valid-type] # a type made at run time

    return read


def convert(value: Any, shape: type[T]) -> T:
    """`value` as a `shape`; unknown fields are left out.

    Raises:
        ServerFailed: when it has another form.
    """
    try:
        return msgspec.convert(value, shape, strict=False)
    except msgspec.ValidationError as error:
        raise ServerFailed(f"the server's answer has another form: {error}") from error


def answer_of(call: Call[Any], status: int, content: bytes) -> Any:
    """The decoded JSON of an answer.

    Raises:
        Failure: when it is a refusal, a failure, or no JSON; also when it is a 200 that says
            `success: false`.
    """
    try:
        body = msgspec.json.decode(content) if content else None
    except msgspec.DecodeError:
        body = None
        if status < 400:
            raise ServerFailed(
                f"{call.method} {call.url_path} answered with something that is not JSON; "
                "is this the address of a Mercato server?",
                status=status,
            ) from None
    if status >= 400 or (isinstance(body, dict) and body.get("success") is False):
        raise failure(status, body, content.decode(errors="replace"))
    return body


def read(call: Call[T], answer: Any) -> T:
    """What the caller wants of an answer.

    Raises:
        ServerFailed: when the answer lacks it.
    """
    try:
        return call.read(answer)
    except (KeyError, TypeError, IndexError) as error:
        raise ServerFailed(
            f"{call.method} {call.url_path} answered without {error}: is this the address of a "
            "Mercato server?"
        ) from error
