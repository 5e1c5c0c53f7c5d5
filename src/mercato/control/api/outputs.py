"""Logs and commands: asked of the host, delivered at an address that nobody can guess.

The answer to a request names the address at once; it answers 404 until the output is there, as
the official client polls it. The official CLI of today cannot read the output of a command that
way, so a command asked for by that client is answered with the output itself.
"""

import secrets
from typing import Final

import msgspec
import structlog
from starlette.responses import PlainTextResponse

from mercato.control.api.call import Call, is_official_cli
from mercato.control.api.services import Services
from mercato.control.store import results, views
from mercato.market import errors
from mercato.market.ids import ContractId, MachineId
from mercato.wire import agent as wire

COMMAND_MAX: Final = 16_384
TAIL_DEFAULT: Final = 1_000
TAIL_MAX: Final = 100_000
LOGS_DEADLINE_S: Final = 30.0
COMMAND_DEADLINE_S: Final = 60.0

_log = structlog.get_logger("mercato.outputs")


class AskLogs(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of which output."""

    id: int
    tail: int | str | None = None
    filter: str | None = None
    """Only lines with this text."""
    daemon_logs: bool | None = None
    """The agent's own log about the instance in place of the container's output."""


class AskCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A shell command to be run inside."""

    id: int
    command: str


class Promised(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the output will be, or for the official CLI the output."""

    success: bool
    result_url: str | msgspec.UnsetType = msgspec.UNSET
    writeable_path: str | msgspec.UnsetType = msgspec.UNSET
    output: str | msgspec.UnsetType = msgspec.UNSET
    exit_code: int | msgspec.UnsetType = msgspec.UNSET
    msg: str = ""


class ByToken(msgspec.Struct, frozen=True, kw_only=True):
    """An output, by its token."""

    token: str


async def request_logs(call: Call, asked: AskLogs) -> Promised:
    """Ask for an instance's output; it appears at `result_url`."""
    tail = _tail(asked.tail)
    work = wire.Logs(instance=asked.id, tail=tail, daemon=bool(asked.daemon_logs))
    return await _promise(call, asked.id, work, LOGS_DEADLINE_S, asked.filter)


async def execute(call: Call, asked: AskCommand) -> Promised:
    """Run a shell command in an instance; its output appears at `result_url`."""
    if not asked.command.strip():
        raise errors.InvalidRequest("command is empty.")
    if len(asked.command) > COMMAND_MAX:
        raise errors.TooLong(f"A command has at most {COMMAND_MAX} characters.")
    work = wire.Execute(instance=asked.id, command=asked.command)
    if not is_official_cli(call.user_agent):
        return await _promise(call, asked.id, work, COMMAND_DEADLINE_S, None)
    machine = await _machine(call, asked.id)
    answer = await call.services.agents.ask(machine, work, COMMAND_DEADLINE_S)
    if answer.error is not None:
        raise errors.HostUnavailable(answer.error)
    # `success: false` is what makes that client print the whole object and not look for a URL.
    return Promised(success=False, output=answer.output, exit_code=answer.exit_code)


async def read_output(call: Call, asked: ByToken) -> PlainTextResponse:
    """Read an output by its token; 404 while it is not there yet."""
    body = await call.services.db.run(results.read, asked.token, call.now_ms)
    if body is None:
        raise errors.NotFound("This output is not there yet, or no longer.")
    return PlainTextResponse(body)


def _tail(asked: int | str | None) -> int:
    if asked in {None, ""}:
        return TAIL_DEFAULT
    try:
        tail = int(str(asked))
    except ValueError:
        raise errors.InvalidRequest("tail must be a number of lines.") from None
    return max(1, min(TAIL_MAX, tail))


async def _machine(call: Call, instance: int) -> MachineId:
    found = await call.services.db.run(views.instance, call.account, instance)
    if found is None:
        raise errors.NoSuchInstance(f"There is no instance {instance} among yours.")
    return MachineId(found.machine_id)


async def _promise(
    call: Call,
    instance: int,
    work: wire.Logs | wire.Execute,
    deadline_s: float,
    only: str | None,
) -> Promised:
    machine = await _machine(call, instance)
    token = secrets.token_urlsafe(32)
    await call.services.db.run(results.expect, token, ContractId(instance), call.now_ms)
    call.services.spawn(_fetch(call.services, token, machine, work, deadline_s, only))
    return Promised(
        success=True, result_url=f"{call.origin}/r/{token}", writeable_path="", msg="Requested."
    )


async def _fetch(
    services: Services,
    token: str,
    machine: MachineId,
    work: wire.Logs | wire.Execute,
    deadline_s: float,
    only: str | None,
) -> None:
    """Have the host do the work and write what it came to, trouble included."""
    try:
        answer = await services.agents.ask(machine, work, deadline_s)
        text = answer.output if answer.error is None else f"error: {answer.error}"
    except errors.Refusal as refusal:
        text = f"error: {refusal}"
    if only:
        text = "".join(line for line in text.splitlines(keepends=True) if only in line)
    await services.db.run(results.fill, token, text)
    _log.debug("output_ready", machine=machine, bytes=len(text))
