"""Volumes: disks of their own on one machine, which outlive the instances that mount them."""

import re
from enum import Enum
from typing import Final

import msgspec

from mercato.market import errors
from mercato.market.ids import ContractId, MachineId
from mercato.market.money import NanoUsdPerGbMonth

NAME_MAX: Final = 64
MB_PER_GB: Final = 1_000

_NAME = re.compile(r"[A-Za-z0-9_]+")
_MOUNT = re.compile(r"V\.(\d{1,15}):(/.*)")
_KEPT_FOR_THE_SYSTEM: Final = frozenset({"dev", "etc", "proc", "run", "sys"})


class VolumeListing(msgspec.Struct, frozen=True, kw_only=True):
    """What a host asks for volumes on a machine; it ends with the machine's own listing."""

    id: int
    """Also the id of the volume offer."""
    machine: MachineId
    size_mb: int
    """How much of the disk may be let as volumes in all."""
    price: NanoUsdPerGbMonth
    """The host's, before the platform's fee."""
    platform_fee_ppm: int


def offered_mb(listing: VolumeListing, rented_mb: int, free_mb: int) -> int:
    """What is left to let as volumes: of the listing, and of the disk whatever else is on it.

    `rented_mb` is what volumes have already, `free_mb` what nobody has. (Semantics 8.2, case 31: of
    a disk of 1,000 GB with 800 GB taken, an offer of 500 GB is one of 200.)
    """
    return max(0, min(listing.size_mb - rented_mb, free_mb))


def default_listing_mb(free_mb: int) -> int:
    """What a machine lists as volumes when its host says nothing: half of its free disk."""
    return free_mb // 2


class VolumeState(Enum):
    """What a person sees of a volume: label, whether it is billed, what it means."""

    CREATING = ("creating", True, "its host makes it")
    READY = ("ready", True, "can be mounted")
    OFFLINE = ("offline", False, "its host cannot be heard")
    DELETING = ("deleting", False, "is being removed from its host")
    DELETED = ("deleted", False, "is gone for good")

    def __init__(self, label: str, billed: bool, meaning: str) -> None:  # noqa: FBT001 - the columns of a table
        """Name the columns of the table above."""
        self.label = label
        self.billed = billed
        self.meaning = meaning


def volume_state(*, deleted: bool, gone: bool, ready: bool, online: bool) -> VolumeState:
    """The state of a volume from its facts. Total: every combination has one."""
    if deleted:
        return VolumeState.DELETED if gone else VolumeState.DELETING
    if not online:
        return VolumeState.OFFLINE
    return VolumeState.READY if ready else VolumeState.CREATING


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """A volume at a path of an instance."""

    volume: ContractId
    path: str


def parse_mount(text: str) -> Mount:
    """Read `V.<volume>:/path`.

    Raises:
        InvalidRequest: when it is not of that form or the path cannot be mounted on.
    """
    found = _MOUNT.fullmatch(text.strip())
    if found is None:
        raise errors.InvalidRequest(
            f"{text[:80]!r} is not a mount like V.123:/data; only volumes of this market can be"
            " mounted."
        )
    return Mount(volume=ContractId(int(found[1])), path=checked_path(found[2]))


def checked_path(path: str) -> str:
    """A path that a volume may be mounted on, in its plain form.

    Raises:
        InvalidRequest: when it is not absolute, the root, or the system's own.
    """
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if (
        not path.startswith("/")
        or not parts
        or ".." in parts
        or parts[0] in _KEPT_FOR_THE_SYSTEM
        or any(ord(letter) < 32 or letter == ":" for letter in path)
    ):
        raise errors.InvalidRequest(
            f"A volume cannot be mounted on {path[:80]!r}; take a path such as /data."
        )
    return "/" + "/".join(parts)


def checked_name(name: str | None) -> str | None:
    """A volume's name: letters, digits and underscores, at most 64; None when it has none.

    Raises:
        InvalidRequest: when it is none such.
    """
    if not name:
        return None
    if len(name) > NAME_MAX or not _NAME.fullmatch(name):
        raise errors.InvalidRequest(
            f"A volume's name has letters, digits and underscores, at most {NAME_MAX}."
        )
    return name
