"""What a Docker Engine leaves in the kernel: rules, bridges, forwarding. Put back as it was."""

import asyncio
import re
import shutil
from pathlib import Path
from typing import Final, Self

from mercato.agent import isolation

_TOOLS: Final = ("iptables", "ip6tables")
_FORWARDING: Final = Path("/proc/sys/net/ipv4/ip_forward")
_OURS: Final = re.compile(r"DOCKER|docker0|br-[0-9a-f]{12}|MERCATO|mercato", re.ASCII)
"""Rules, chains and bridges that a Docker Engine, or isolation on it, makes."""


class Firewall:
    """The state before the engine started."""

    def __init__(
        self, policies: dict[str, str], bridges: frozenset[str], forwarding: str | None
    ) -> None:
        """Keep the FORWARD policy of each tool without an engine's rules, the bridges, forwarding.

        What there was of another engine's is not ours to take away.
        """
        self._policies = policies
        self._bridges = bridges
        self._forwarding = forwarding

    @classmethod
    async def remember(cls) -> Self:
        """Look at the state as it is now."""
        policies = {}
        for tool in _TOOLS:
            rules = await _output(f"{tool}-save")
            if not _OURS.search(rules):
                found = re.search(r"^\*filter\n(?:.*\n)*?:FORWARD (\w+)", rules, re.MULTILINE)
                policies[tool] = found[1] if found else "ACCEPT"
        forwarding = _FORWARDING.read_text().strip() if _FORWARDING.exists() else None
        return cls(policies, await _bridges(), forwarding)

    async def restore(self) -> None:
        """Take away what the engine made, and only that."""
        for tool, policy in self._policies.items():
            rules = await _output(f"{tool}-save")
            if _OURS.search(rules):
                await _output(f"{tool}-restore", given=without_docker(rules, policy))
        for name in await _bridges() - self._bridges:
            await _output("ip", "link", "delete", name)
        if self._forwarding == "0":
            _FORWARDING.write_text("0\n")


async def _bridges() -> frozenset[str]:
    """The bridges of Docker Engines that there are."""
    lines = (await _output("ip", "-o", "link", "show", "type", "bridge")).splitlines()
    names = (line.split(":")[1].strip() for line in lines)
    return frozenset(
        name
        for name in names
        if name in {"docker0", isolation.BRIDGE} or re.fullmatch(r"br-[0-9a-f]{12}", name)
    )


def without_docker(rules: str, forward_policy: str) -> str:
    """`rules`, as iptables-save prints them, without those that a Docker Engine made."""
    kept = []
    for line in rules.splitlines():
        if _OURS.search(line):
            continue
        if line.startswith(":FORWARD "):
            line = f":FORWARD {forward_policy} [0:0]"  # noqa: PLW2901 - the line as it was before
        kept.append(line)
    return "\n".join(kept) + "\n"


async def _output(program: str, *arguments: str, given: str | None = None) -> str:
    """What a program prints; nothing where it does not exist or fails."""
    if shutil.which(program) is None:
        return ""
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        stdin=asyncio.subprocess.PIPE if given is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    printed, _ = await process.communicate(None if given is None else given.encode())
    return printed.decode(errors="replace")
