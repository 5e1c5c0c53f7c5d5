"""What the agent's tests are made of."""

import os

from mercato.agent.facts.machine import pretend_gpus
from mercato.market.hardware import Cpu, Disk, GpuModel, Hardware, Network
from mercato.wire.agent import Desired, DesiredInstance, Notice, Port

MACHINE = 7

PORT_FIRST = 20_000 + os.getpid() % 128 * 64
"""Each run of the tests has a range of its own, so that two of them may go on at once.

Below the ports that the system gives to outgoing connections: one of these may be taken.
"""


def hardware(gpus: int = 4, ports: tuple[int, int] | None = None) -> Hardware:
    first, last = ports or (PORT_FIRST, PORT_FIRST + 63)
    return Hardware(
        gpu_model=GpuModel(name="RTX 4090", ram_mb=24_576),
        gpus=pretend_gpus(gpus),
        cpu=Cpu(name="cpu", cores=8, ram_mb=32_000),
        disk=Disk(size_gb=100.0),
        network=Network(port_first=first, port_last=last),
        simulated=True,
    )


def wanted(
    number: int,
    *,
    running: bool = True,
    revision: int = 1,
    boots: int = 0,
    image: str = "base",
    ssh: bool = True,
    gpus: tuple[int, ...] = (0,),
    ports: tuple[Port, ...] = (),
    args: tuple[str, ...] = (),
    onstart: str = "",
    keys: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
    pids_max: int = 256,
    ram_mb: int = 64,
    notice: Notice | None = None,
    grace_s: float = 10.0,
) -> DesiredInstance:
    return DesiredInstance(
        id=number,
        revision=revision,
        boots=boots,
        running=running,
        image=image,
        ssh=ssh,
        gpus=gpus,
        ports=ports,
        args=args,
        onstart=onstart,
        ssh_keys=keys,
        env=env or {},
        cpus=1.0,
        ram_mb=ram_mb,
        shm_mb=16,
        pids_max=pids_max,
        disk_mb=1_000,
        notice=notice,
        grace_s=grace_s,
    )


OUTBID = Notice(yields_at_ms=1_700_000_120_000, reason="outbid", message="Somebody pays more.")


def desired(*instances: DesiredInstance, generation: int = 1) -> Desired:
    return Desired(machine=MACHINE, generation=generation, instances=instances)
