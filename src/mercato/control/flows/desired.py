"""What should be on a machine, read off the rows: the whole of it, every time."""

from typing import Final

import msgspec

from mercato.control.db import Tx
from mercato.control.secrets_box import SecretsBox
from mercato.control.store import contracts, holds, instances, secrets, standings, volumes
from mercato.control.store.instances import Instance
from mercato.control.store.machines import Machine
from mercato.control.store.volumes import StoredVolume
from mercato.market.contract import Contract
from mercato.market.hardware import Hardware
from mercato.market.ids import AccountId, ContractId, MachineId
from mercato.market.instance import Intended
from mercato.market.launch import JupyterWish, Launch, Login
from mercato.market.money import MS_PER_S
from mercato.market.standing import Standing
from mercato.wire.agent import (
    Desired,
    DesiredInstance,
    DesiredVolume,
    Jupyter,
    Mount,
    Notice,
    Port,
    RegistryLogin,
)

SHM_SHARE: Final = 0.5
"""How much of an instance's memory `/dev/shm` may take."""

KEY_VARIABLE: Final = "CONTAINER_API_KEY"
"""Where a program inside an instance finds the key to stop or destroy it."""


class _Secret(msgspec.Struct, frozen=True):
    """What is secret in a launch."""

    env: dict[str, str] = {}
    login: Login | None = None
    key: str = ""
    """The instance's own API key, which it finds in its environment."""


def sealed(
    tx: Tx, account: AccountId, launch: Launch, instance_key: str, box: SecretsBox
) -> tuple[Launch, bytes]:
    """Part a launch into what may lie open and what may not.

    The account's own variables join the environment here, below those of the request: later
    changes of them reach only later rentals.
    """
    own = {name: box.open(value) for name, value in secrets.of_account(tx, account).items()}
    secret = _Secret(env=own | launch.env, login=launch.login, key=instance_key)
    return (
        msgspec.structs.replace(launch, env={}, login=None),
        box.seal(msgspec.json.encode(secret).decode()),
    )


def unsealed(instance: Instance, box: SecretsBox) -> tuple[Launch, str]:
    """The whole launch of an instance, secrets included, and its own API key."""
    if instance.sealed is None:
        return instance.launch, ""
    secret = msgspec.json.decode(box.open(instance.sealed), type=_Secret)
    launch = msgspec.structs.replace(instance.launch, env=secret.env, login=secret.login)
    return launch, secret.key


class OnMachine(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows say is, or should be, on one machine."""

    instances: list[Instance]
    volumes: list[StoredVolume]
    contracts: dict[ContractId, Contract]
    """Those of both."""
    holders: frozenset[ContractId]
    standings: dict[ContractId, Standing]


def look(tx: Tx, machine: MachineId) -> OnMachine:
    """Read off the rows what is, or should be, on a machine."""
    return OnMachine(
        instances=instances.live_on(tx, machine),
        volumes=volumes.live_on(tx, machine),
        contracts=contracts.live_on(tx, machine),
        holders=frozenset(holds.on(tx, machine).values()),
        standings=standings.on(tx, machine),
    )


def desired(tx: Tx, machine: Machine, there: OnMachine, box: SecretsBox) -> Desired:
    """Everything that should be on a machine. What is not named should not exist."""
    wanted = [one for one in there.instances if one.intended is not Intended.DESTROYED]
    ids = [one.id for one in wanted]
    keys = instances.ssh_keys(tx, ids) if ids else {}
    mounts = volumes.mounts_of(tx, ids) if ids else {}
    return Desired(
        machine=machine.id,
        generation=machine.generation,
        instances=tuple(
            _as_it_stands(
                msgspec.structs.replace(
                    _instance(one, there.contracts[one.id], machine.hardware, box),
                    ssh_keys=tuple(keys[one.id]),
                    mounts=tuple(Mount(volume=it.volume, path=it.path) for it in mounts[one.id]),
                ),
                there.standings.get(one.id),
                holds_gpus=one.id in there.holders,
            )
            for one in wanted
        ),
        volumes=tuple(
            DesiredVolume(
                id=one.id, size_mb=there.contracts[one.id].terms.disk_mb, clone_of=one.clone_of
            )
            for one in there.volumes
            if one.deleted_at_ms is None
        ),
    )


def _as_it_stands(
    wanted: DesiredInstance, standing: Standing | None, *, holds_gpus: bool
) -> DesiredInstance:
    """An instance as it should be while it holds GPUs or not, with its notice if it was given one.

    What was told to give its GPUs up holds them until it has stopped, and should not run on them.
    """
    if not holds_gpus:
        return msgspec.structs.replace(wanted, running=False)
    if standing is None or standing.yields_at_ms is None or standing.pauses_at_ms is None:
        return wanted
    return msgspec.structs.replace(
        wanted,
        running=wanted.running and not standing.pausing,
        notice=Notice(
            yields_at_ms=standing.yields_at_ms,
            reason=standing.why.value if standing.why else "",
            message=standing.message,
        ),
        grace_s=(standing.yields_at_ms - standing.pauses_at_ms) / MS_PER_S,
    )


def _instance(
    instance: Instance, contract: Contract, hardware: Hardware, box: SecretsBox
) -> DesiredInstance:
    """An instance as its own rows say, without keys and mounts."""
    launch, key = unsealed(instance, box)
    share = len(contract.gpus) / hardware.gpu_count
    ram_mb = int(hardware.cpu.ram_mb * share)
    return DesiredInstance(
        id=instance.id,
        revision=instance.revision,
        boots=instance.boots,
        running=instance.intended is Intended.RUNNING,
        image=launch.image,
        login=_login(launch.login),
        ssh=launch.ssh,
        jupyter=_jupyter(launch.jupyter, instance.jupyter_token),
        entrypoint=launch.entrypoint,
        user=launch.user,
        args=launch.args,
        env={KEY_VARIABLE: key} | launch.env,
        ports=tuple(
            Port(container=port.container, protocol=port.protocol) for port in launch.ports
        ),
        hostname=launch.hostname,
        onstart=launch.onstart,
        gpus=instance.gpus or contract.gpus,
        cpus=hardware.cpu.cores * share,
        ram_mb=ram_mb,
        shm_mb=int(ram_mb * SHM_SHARE),
        disk_mb=contract.terms.disk_mb,
    )


def _login(login: Login | None) -> RegistryLogin | None:
    if login is None:
        return None
    return RegistryLogin(registry=login.registry, user=login.user, password=login.password)


def _jupyter(wish: JupyterWish | None, token: str) -> Jupyter | None:
    if wish is None:
        return None
    return Jupyter(token=token, directory=wish.directory, lab=wish.lab)
