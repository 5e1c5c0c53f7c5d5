"""The host's own job: what a machine runs while nobody rents it."""

import secrets
from typing import Final

import msgspec

from mercato.control.api.auth import new_secret
from mercato.control.api.call import Call, Done
from mercato.control.api.hosting import GPU_PRICE_MAX, checked_price, show_machine
from mercato.control.api.keys import ById
from mercato.control.api.launching import LaunchRequest, launch_of
from mercato.control.flows import background
from mercato.control.flows.background import Job
from mercato.control.flows.renting import Minted
from mercato.market import errors
from mercato.market.ids import MachineId
from mercato.market.money import NanoUsdPerHour

DISK_GB_DEFAULT: Final = 10.0
DISK_GB_MAX: Final = 1_000_000.0


class JobAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine should run while nobody rents it."""

    machine: int
    image: str | None = None
    args: list[str] | str | None = None
    """For the image's own entrypoint."""
    price_gpu: float | None = None
    """Dollars that a GPU and hour of it is worth; bids on the machine begin there at the least."""
    price_inetu: float | None = None
    """Without effect, as the next one: the host pays nobody for its own job's traffic."""
    price_inetd: float | None = None
    disk: float | None = None
    """Gigabytes for each smallest slice of the machine; Mercato's own, 10 when left out."""


async def set_job(call: Call, asked: JobAsked) -> Done:
    """Have a machine run an image on all GPUs that nobody rents; any renter displaces it."""
    disk_gb = DISK_GB_DEFAULT if asked.disk is None else asked.disk
    if not 0 < disk_gb <= DISK_GB_MAX:
        raise errors.InvalidRequest(f"disk must be above 0 and at most {DISK_GB_MAX:g} GB.")
    price = None
    if asked.price_gpu is not None:
        price = NanoUsdPerHour(checked_price("price_gpu", asked.price_gpu, GPU_PRICE_MAX))
    house = call.services.house
    wanted = LaunchRequest(image=asked.image, args=asked.args, runtype="args")
    job = Job(
        launch=launch_of(wanted, None, house.box), disk_mb=round(disk_gb * 1_000), price=price
    )
    (machine,) = await show_machine(call, ById(id=asked.machine))
    minted = [
        Minted(instance_key=new_secret(), jupyter_token=secrets.token_urlsafe(24))
        for _ in range(machine.num_gpus)
    ]
    made = await call.services.db.run(
        background.set_job,
        call.account,
        MachineId(asked.machine),
        job,
        minted,
        call.now_ms,
        house=house,
    )
    return Done(
        msg=f"Machine {asked.machine} runs {job.launch.image} wherever nobody rents, as"
        f" instance{'s' if len(made) > 1 else ''} {', '.join(map(str, made))} of yours."
    )


async def remove_job(call: Call, asked: ById) -> Done:
    """End a machine's own job for good."""
    number = await call.services.db.run(
        background.remove_job, call.account, MachineId(asked.id), call.now_ms
    )
    return Done(msg=f"The job of machine {asked.id} ends on {number} slice(s).")
