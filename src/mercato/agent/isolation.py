"""What an instance may do on its host: as little as possible.

Two halves. `host_config` is the part that the engine enforces: no privileges, no new ones, few
capabilities, no host mounts, limits on everything. The firewall is the part that the kernel's
packet filter enforces: from inside, the host itself and private ranges cannot be reached, while
published ports, name service and the internet can.
"""

import asyncio
import ipaddress
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mercato.agent import ports as port_rules
from mercato.wire.agent import DesiredInstance

NETWORK: Final = "mercato"
BRIDGE: Final = "mercato0"
"""The bridge on which every instance of this host has its own address."""

CAPABILITIES: Final = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
    "SYS_CHROOT",
)
"""Kept: what package managers and servers need. Of the engine's usual set these are dropped:
AUDIT_WRITE, MKNOD, NET_RAW, SETFCAP and SETPCAP."""

PRIVATE_RANGES: Final = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
"""Not reachable from inside: the host's neighbours, metadata services, multicast."""

LOG_OPTIONS: Final = {"Type": "json-file", "Config": {"max-size": "16m", "max-file": "2"}}
"""An instance cannot fill its host's disk by printing."""


def host_config(
    desired: DesiredInstance,
    allocation: Mapping[str, int],
    *,
    gpu_requests: Sequence[Mapping[str, Any]] = (),
    disk_quota: bool = False,
    volume_name: Callable[[int], str] = str,
    extra_hosts: Sequence[str] = (),
) -> dict[str, Any]:
    """The engine's `HostConfig` of an instance: the whole of what it is allowed.

    `allocation` holds the ports that the engine itself publishes, `volume_name` is the engine's
    name of a volume of ours: there is no other mount. Nothing that a renter writes
    reaches any other field than these.
    """
    memory = desired.ram_mb * 1_000_000
    config: dict[str, Any] = {
        "Init": desired.ssh,
        "Privileged": False,
        "SecurityOpt": ["no-new-privileges:true"],
        "CapDrop": ["ALL"],
        "CapAdd": list(CAPABILITIES),
        "NetworkMode": NETWORK,
        "ExtraHosts": list(extra_hosts),
        "IpcMode": "private",
        "PidMode": "",
        "UTSMode": "",
        "PidsLimit": desired.pids_max,
        "Memory": memory,
        "MemorySwap": memory,
        "ShmSize": desired.shm_mb * 1_000_000,
        "CpuShares": max(2, round(1_024 * desired.cpus)),
        "LogConfig": LOG_OPTIONS,
        "RestartPolicy": {"Name": "no"},
        "Binds": [],
        "Mounts": [
            {"Type": "volume", "Source": volume_name(mount.volume), "Target": mount.path}
            for mount in desired.mounts
        ],
        "Devices": [],
        "DeviceRequests": list(gpu_requests),
        "PortBindings": {
            port_rules.inside(wish, outside): [{"HostIp": "", "HostPort": str(outside)}]
            for wish, outside in allocation.items()
        },
    }
    if disk_quota:
        config["StorageOpt"] = {"size": f"{desired.disk_mb}M"}
    return config


NETWORK_CONFIG: Final[dict[str, Any]] = {
    "Name": NETWORK,
    "Driver": "bridge",
    "EnableIPv6": False,
    "Options": {
        "com.docker.network.bridge.name": BRIDGE,
        "com.docker.network.bridge.enable_icc": "false",
    },
    "Labels": {"mercato.network": "1"},
}
"""A bridge of our own on which instances cannot reach one another."""


def forward_rules(nameservers: Iterable[str]) -> list[list[str]]:
    """What may pass from an instance to elsewhere, as arguments of iptables, first match wins."""
    rules = [["-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "RETURN"]]
    for server in nameservers:
        rules += [
            ["-d", server, "-p", protocol, "--dport", "53", "-j", "RETURN"]
            for protocol in ("udp", "tcp")
        ]
    rules += [
        ["-d", private, "-j", "REJECT", "--reject-with", "icmp-admin-prohibited"]
        for private in PRIVATE_RANGES
    ]
    return [*rules, ["-j", "RETURN"]]


def input_rules() -> list[list[str]]:
    """What may pass from an instance to the host itself: answers, and what agents have opened."""
    return [
        ["-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT"],
        ["-j", OPENINGS],
        ["-j", "REJECT", "--reject-with", "icmp-admin-prohibited"],
    ]


def opening_rule(owner: str, address: str, port: int) -> list[str]:
    """Lets instances reach one TCP port of this host, on behalf of one agent."""
    whose = ["-m", "comment", "--comment", owner]
    return ["-d", address, "-p", "tcp", "--dport", str(port), *whose, "-j", "ACCEPT"]


def nameservers(resolv_conf: str) -> list[str]:
    """The IPv4 name servers that a `resolv.conf` names, those on this host's own loopback left out.

    The engine asks a loopback server itself, outside the instance.
    """
    found = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            address = ipaddress.ip_address(words[1])
        except ValueError:
            continue
        if address.version == 4 and not address.is_loopback:
            found.append(str(address))
    return found


OPENINGS: Final = "MERCATO-OPENINGS"
"""Every agent of this host adds its own openings to this chain; raising the rest keeps them.

Two agents of one market open the same port, each with a rule of its own: the one that ends closes
its own alone.
"""

_CHAINS: Final = (("DOCKER-USER", "MERCATO-FORWARD"), ("INPUT", "MERCATO-INPUT"))


async def raise_firewall(owner: str, openings: Sequence[tuple[str, int]] = ()) -> str:
    """Put the rules in place, the same however often it is done; `openings` are `owner`'s.

    Returns what is wrong, for the host: empty when the firewall stands.
    """
    if os.geteuid() != 0:
        return (
            "isolation: not root, so the firewall between instances and this machine's own network "
            "is not in place; run the agent as root"
        )
    servers = nameservers(await asyncio.to_thread(_resolv_conf))
    await _run("iptables", "-w", "-N", OPENINGS)  # refused when it is there: as good
    for opening in openings:
        rule = opening_rule(owner, *opening)
        if await _run("iptables", "-w", "-C", OPENINGS, *rule):
            await _run("iptables", "-w", "-A", OPENINGS, *rule)
    contents = (forward_rules(servers), input_rules())
    for (parent, chain), rules in zip(_CHAINS, contents, strict=True):
        lines = "".join(f"-A {chain} {' '.join(rule)}\n" for rule in rules)
        trouble = await _iptables_restore(f"*filter\n:{chain} - [0:0]\n{lines}COMMIT\n")
        trouble = trouble or await _jump(parent, chain)
        if trouble:
            return f"isolation: the firewall could not be put in place: {trouble}"
    return ""


async def lower_firewall() -> None:
    """Take the rules away: for whoever ends the last agent of this host and its network."""
    for parent, chain in _CHAINS:
        await _run("iptables", "-w", "-D", parent, "-i", BRIDGE, "-j", chain)
        await _run("iptables", "-w", "-F", chain)
        await _run("iptables", "-w", "-X", chain)
    await _run("iptables", "-w", "-F", OPENINGS)
    await _run("iptables", "-w", "-X", OPENINGS)


async def close_openings(owner: str, openings: Iterable[tuple[str, int]]) -> None:
    """Take away the openings of the agent `owner`; those of others at the same port stay."""
    for opening in openings:
        await _run("iptables", "-w", "-D", OPENINGS, *opening_rule(owner, *opening))


def _resolv_conf() -> str:
    try:
        return Path("/etc/resolv.conf").read_text(encoding="utf-8")
    except OSError:
        return ""


async def _jump(parent: str, chain: str) -> str:
    rule = (parent, "-i", BRIDGE, "-j", chain)
    if not await _run("iptables", "-w", "-C", *rule):
        return ""
    return await _run("iptables", "-w", "-I", *rule)


async def _iptables_restore(table: str) -> str:
    return await _run("iptables-restore", "-w", "--noflush", given=table.encode())


async def _run(program: str, *arguments: str, given: bytes = b"") -> str:
    """Run a program; what it complained of, empty when it succeeded."""
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        return f"{program} is not installed"
    _, complaint = await process.communicate(given)
    if process.returncode == 0:
        return ""
    return complaint.decode(errors="replace").strip() or f"{program} failed"
