"""Settings: read once, at the start, from arguments and environment; frozen from then on."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mercato.control.flows.house import STANDARD, Rules


class BadSetting(Exception):  # noqa: N818 - what is the matter, in the words of the operator
    """A setting cannot be understood; the message names it."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the control plane is told at its start."""

    database_url: str
    data_key: Path
    """The file with the key that seals secrets; made when it is not there."""
    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str | None = None
    """Where callers reach this server; None to believe each request's Host header."""
    connections_max: int = 8
    body_bytes_max: int = 1_048_576
    calls_per_s: float = 50.0
    """How often one key may use one route for ever; 0 is no limit."""
    calls_burst: int = 500
    """And how often at once."""
    log_format: str = "console"
    """`console` for people, `json` for programs."""
    log_level: str = "info"
    stripe_key: str | None = None
    """The secret key of a Stripe account; None: payments are made by hand."""
    stripe_webhook_secret: str | None = None
    """Signs Stripe's notices to /api/v0/payments/notices/stripe."""
    stripe_url: str = "https://api.stripe.com"
    uploads: Path | None = None
    """The directory of what clients upload; None: `uploads` beside the data key."""
    upload_bytes_max: int = 536_870_912
    s3_url: str | None = None
    """A bucket for uploads, in place of the directory: its own address, with the bucket in it."""
    s3_bucket: str = ""
    s3_region: str = "us-east-1"
    s3_prefix: str = ""
    """Before the name of everything there."""
    s3_access_key: str = ""
    s3_secret_key: str = ""
    rules: Rules = STANDARD


def read(environ: Mapping[str, str], **arguments: object) -> Settings:
    """Settings from the environment; an argument that is not None goes before it.

    Raises:
        BadSetting: when a value is not what its setting takes.
    """
    found: dict[str, object] = {}
    for name in Settings.__struct_fields__:
        value = environ.get(f"MERCATO_{name.upper()}")
        if value is not None and name != "rules":
            found[name] = value
    if "database_url" not in found and environ.get("DATABASE_URL"):
        found["database_url"] = environ["DATABASE_URL"]
    found |= {name: value for name, value in arguments.items() if value is not None}
    try:
        return msgspec.convert(found, Settings, strict=False, dec_hook=_plain)
    except msgspec.ValidationError as problem:
        raise BadSetting(f"a setting cannot be understood: {problem}") from None


def read_rules(path: Path | None, *, simulated_verified: bool = False) -> Rules:
    """The market's rules from a TOML file of names of `Rules`; the defaults for the others.

    Raises:
        BadSetting: when the file cannot be read, or says what no rule is.
    """
    try:
        found = {} if path is None else tomllib.loads(path.read_text(encoding="utf-8"))
        unknown = sorted(found.keys() - set(Rules.__struct_fields__))
        if unknown:
            known = ", ".join(Rules.__struct_fields__)
            raise BadSetting(f"{path}: there is no rule {unknown[0]!r}; there are {known}")
        if simulated_verified:
            found["simulated_verified"] = True
        return msgspec.convert(found, Rules)
    except (OSError, UnicodeDecodeError, ValueError, msgspec.ValidationError) as problem:
        raise BadSetting(f"the rules in {path} cannot be understood: {problem}") from None


def _plain(wanted: type, value: object) -> object:
    return Path(str(value)) if wanted is Path else value
