"""The keys by which statements are checked, remembered for each market when first met."""

from pathlib import Path

import msgspec

from mercato.cli.errors import Trouble
from mercato.cli.session import config_directory, config_path


def _path() -> Path:
    return config_path().with_name("known_keys.json")


def _all() -> dict[str, str]:
    path = _path()
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise Trouble(f"cannot read {path}: {error}") from error


def known(market: str) -> str | None:
    """The key remembered for a market; None when it was never met."""
    return _all().get(market)


def remember(market: str, key: str) -> None:
    """Remember a market's key.

    Raises:
        Trouble: when another was remembered: somebody else may be answering in its name.
    """
    keys = _all()
    before = keys.get(market)
    if before == key:
        return
    if before is not None:
        raise Trouble(
            f"{market} now signs with another key than the one remembered ({before[:16]}…). If its "
            f"operator says that it changed, take its line out of {_path()} and try again"
        )
    config_directory()
    path = _path()
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(keys | {market: key})))
    except OSError as error:
        raise Trouble(f"cannot write {path}: {error.strerror}") from error
