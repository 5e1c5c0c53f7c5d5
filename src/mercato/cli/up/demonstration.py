"""A rental for show, through the public API: search, rent, wait, go in, read logs, see the bill."""

import asyncio
import time
from pathlib import Path
from typing import Final

import asyncssh

from mercato.cli.errors import Trouble
from mercato.cli.text import money
from mercato.cli.up.place import write_private
from mercato.cli.up.say import Say, Step
from mercato.cli.waiting import need_hope, state_of
from mercato.sdk import AsyncMercato
from mercato.sdk.shapes import Instance, Offer

LABEL: Final = "demonstration"
DISK_GB: Final = 4.0
ONSTART: Final = 'echo "Hello from instance $CONTAINER_ID on $(uname -n)"'
COMMAND: Final = "echo $(whoami) in container $CONTAINER_ID; python3 --version"
WAIT_S: Final = 300.0
LOGS_S: Final = 30.0
OFFER_S: Final = 30.0


class Demonstration:
    """One rental, from search to bill."""

    def __init__(
        self, market: AsyncMercato, ssh_key: Path, image: str, say: Say, *, pretend: bool
    ) -> None:
        """Rent `image` as the account of `market`, going in with the key at `ssh_key`.

        A `pretend` container has no SSH server; its command goes through the API.
        """
        self._pretend = pretend
        self._market = market
        self._ssh_key = ssh_key
        self._image = image
        self._say = say

    async def run(self) -> Instance:
        """Show it all; the instance, which is left running.

        Raises:
            Trouble: when a step does not come out.
            Failure: when the server refuses a step.
        """
        self._say.line()
        self._say.line("A rental, as any renter makes it:")
        await self._bring_key()
        instance = await self._earlier()
        if instance is None:
            offer = await self._search()
            instance = await self._rent(offer)
        instance = await self._wait(instance)
        await (self._execute(instance) if self._pretend else self._go_in(instance))
        await self._read_logs(instance)
        await self._bill()
        return instance

    async def end(self, instance: Instance) -> None:
        """Destroy the instance, and wait until its host has let go of it."""
        with self._say.step("destroy it") as step:
            before = await self._on_sale()
            await self._market.destroy(instance.id)
            until = time.monotonic() + OFFER_S
            while time.monotonic() < until:
                if await self._on_sale() - before:
                    break
                await asyncio.sleep(0.2)
            step.outcome = f"instance {instance.id} and its disk are gone, its GPUs on sale again"

    async def _on_sale(self) -> set[int]:
        return {offer.id for offer in await self._market.search("", limit=1_000)}

    async def _bring_key(self) -> None:
        if not self._ssh_key.exists():
            self._ssh_key.parent.mkdir(parents=True, exist_ok=True)
            pair = asyncssh.generate_private_key("ssh-ed25519", comment="mercato-demonstration")
            write_private(self._ssh_key, pair.export_private_key())
        public = asyncssh.read_private_key(str(self._ssh_key)).export_public_key().decode().strip()
        known = {key.public_key.split()[1] for key in await self._market.ssh_keys()}
        if public.split()[1] not in known:
            await self._market.add_ssh_key(public)

    async def _earlier(self) -> Instance | None:
        """The rental that an earlier run kept."""
        for instance in await self._market.instances():
            if instance.label == LABEL:
                with self._say.step("take up the rental of the last time") as step:
                    if instance.intended_status != "running":
                        await self._market.start(instance.id)
                    step.outcome = f"instance {instance.id}"
                return instance
        return None

    async def _search(self) -> Offer:
        with self._say.step("search offers") as step:
            until = time.monotonic() + OFFER_S
            while True:
                offers = await self._market.search(f"disk_space>={DISK_GB}", order="dph")
                if offers:
                    break
                if time.monotonic() > until:
                    raise Trouble("no offer is on sale, although the machine is listed")
                await asyncio.sleep(0.2)
            best = offers[0]
            step.outcome = (
                f"{len(offers)} found; offer {best.id}: {best.num_gpus}x {best.gpu_name}, "
                f"{best.cpu_cores_effective:g} CPUs, {best.cpu_ram / 1000:.0f} GB RAM, "
                f"{money(best.dph_total)}/h"
            )
            return best

    async def _rent(self, offer: Offer) -> Instance:
        with self._say.step("rent it") as step:
            rented = await self._market.rent(
                offer.id, image=self._image, disk_gb=DISK_GB, label=LABEL, onstart=ONSTART
            )
            instance = await self._market.instance(rented.new_contract)
            assert instance is not None, rented
            step.outcome = f"instance {instance.id} for {money(instance.dph_total)}/h"
            return instance

    async def _wait(self, instance: Instance) -> Instance:
        with self._say.step("wait until it runs") as step:
            until = time.monotonic() + WAIT_S
            while time.monotonic() < until:
                row = await self._market.instance(instance.id)
                if row is None:
                    raise Trouble(f"instance {instance.id} is gone")
                if row.actual_status == "running" and row.door() is not None:
                    step.outcome = "ssh -p {1} root@{0}".format(*(row.door() or ()))
                    return row
                need_hope(row)
                _show_progress(step, row)
                await asyncio.sleep(0.2)
            raise Trouble(
                f"instance {instance.id} did not run within {WAIT_S:.0f} s; its agent's log is in "
                "the data directory"
            )

    async def _go_in(self, instance: Instance) -> None:
        door = instance.door()
        assert door is not None
        with self._say.step("run a command over SSH") as step:
            try:
                async with asyncssh.connect(
                    door[0],
                    door[1],
                    username="root",
                    client_keys=[str(self._ssh_key)],
                    known_hosts=None,
                    config=None,
                    agent_path=None,
                    login_timeout=20,
                ) as connection:
                    result = await connection.run(COMMAND, timeout=30)
            except (asyncssh.Error, OSError, TimeoutError) as error:
                raise Trouble(f"cannot enter instance {instance.id} over SSH: {error}") from error
            step.outcome = f"exit status {result.exit_status}"
        self._say.line(f"          $ {COMMAND}")
        for line in str(result.stdout).splitlines():
            self._say.line(f"          {line}")

    async def _execute(self, instance: Instance) -> None:
        with self._say.step("run a command through the API") as step:
            printed = await self._market.execute(instance.id, COMMAND)
            step.outcome = f"{len(printed.splitlines())} lines"
        self._say.line(f"          $ {COMMAND}")
        for line in printed.splitlines():
            self._say.line(f"          {line}")

    async def _read_logs(self, instance: Instance) -> None:
        with self._say.step("read its logs") as step:
            until = time.monotonic() + LOGS_S
            text = ""
            while not text.strip() and time.monotonic() < until:
                text = await self._market.logs(instance.id, tail=5)
            step.outcome = f"{len(text.splitlines())} lines"
        for line in text.splitlines():
            self._say.line(f"          {line}")

    async def _bill(self) -> None:
        with self._say.step("see the bill") as step:
            now = int(time.time())  # noqa: TID251 - the bill of the day that this machine has
            charges = await self._market.charges(now - 86_400, now + 86_400)
            user = await self._market.user()
            total = sum(each.amount for each in charges)
            step.outcome = f"{money(total)} so far; {money(user.credit)} of credit left"
        for each in charges:
            self._say.line(f"          {each.source or each.type}: {money(each.amount)}")
            for item in each.items:
                self._say.line(f"            {item.type}: {money(item.amount)} {item.description}")


def _show_progress(step: Step, row: Instance) -> None:
    step.show(f"{state_of(row)} {row.status_msg or ''}".strip())
