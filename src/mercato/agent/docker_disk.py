"""How an engine keeps a container within the disk that is rented, where its file system can."""

import posixpath
from collections.abc import Mapping
from typing import Any, Final

import aiodocker

_QUOTA_DRIVERS: Final = {"btrfs", "zfs", "devicemapper"}
_NO_QUOTAS: Final = "--storage-opt is supported only"
_NO_QUOTAS_OF_VOLUMES: Final = "no quota support"


def may_bound(info: Mapping[str, Any]) -> bool:
    """Whether an engine that says this of itself may know quotas: it is known once it is tried."""
    backing = dict(info.get("DriverStatus") or []).get("Backing Filesystem", "")
    driver = info.get("Driver", "")
    return driver in _QUOTA_DRIVERS or (driver == "overlay2" and backing == "xfs")


def knows_no_quotas(complaint: str) -> bool:
    """Whether an engine refused a container because its file system was mounted without quotas.

    By the beginning: names that a renter chose may stand in the rest of any complaint.
    """
    return complaint.startswith(_NO_QUOTAS)


def explained(complaint: str) -> str:
    """Why a container could not be made, for its renter."""
    if "no space left" in complaint.lower():
        return "the host's disk is full"
    if complaint.endswith(_NO_QUOTAS_OF_VOLUMES):
        return (
            "the image keeps files in volumes of its own (VOLUME), which this machine cannot hold "
            "to the disk that is rented: mount a volume at each of their paths, or rent elsewhere"
        )
    return f"the container could not be made: {complaint}"


async def bound(docker: aiodocker.Docker, config: dict[str, Any]) -> None:
    """Have what the image keeps in volumes of its own count as the container's disk too.

    The disk is divided evenly: each of these volumes has a quota of its own.
    """
    host = config["HostConfig"]
    mounted = {posixpath.normpath(mount["Target"]) for mount in host["Mounts"]}
    shown = await docker.images.inspect(config["Image"])
    declared = map(posixpath.normpath, (shown.get("Config") or {}).get("Volumes") or ())
    own = sorted(set(declared) - mounted)
    megabytes = int(host["StorageOpt"]["size"].removesuffix("M"))
    size = f"{max(1, megabytes // (1 + len(own)))}M"
    quota = {"DriverConfig": {"Name": "local", "Options": {"size": size}}}
    host["StorageOpt"] = {"size": size}
    host["Mounts"] += [{"Type": "volume", "Target": path, "VolumeOptions": quota} for path in own]
