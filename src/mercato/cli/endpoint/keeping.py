"""Endpoints: made, shown, changed, deleted."""

import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import msgspec

from mercato.cli.command import Argument, Option, Timeout, Yes
from mercato.cli.endpoint.group import Named, endpoint, found
from mercato.cli.endpoint.options import GROUP, PARAMETERS, State, given
from mercato.cli.endpoint.watching import print_workers, until_ready
from mercato.cli.errors import Trouble
from mercato.cli.session import Session, print_json, print_line, print_table
from mercato.cli.text import moment, number, span
from mercato.cli.tree import speaks

if TYPE_CHECKING:
    from mercato.sdk.endpoint_calls import Endpoint


@speaks(endpoint, "create", also={**PARAMETERS, **GROUP})
def create(
    session: Session,
    /,
    name: Annotated[str, Argument(help="Its name, by which clients call it.")],
    *,
    template: Annotated[
        str | None, Option("--template", help="A template's hash: its first worker group runs it.")
    ] = None,
    wait: Annotated[bool, Option("--wait", "-w", help="Wait until a worker is ready.")] = False,
    timeout: Timeout = 900.0,
    **options: Any,
) -> None:
    """Make an endpoint; with --template also its first worker group, which gives it workers.

    For example:

        mercato endpoint create llm --template 5f3b... --query 'gpu_name=RTX_4090 num_gpus=1'

        mercato endpoint create llm --cold-workers 0 --max-workers 4 --inactivity-timeout 60
    """
    fields = given(options, GROUP)
    if template is None and (fields or wait):
        raise Trouble("which template should its workers run? Give --template HASH", exit_code=2)
    market = session.market
    made = market.create_endpoint(name, given(options, PARAMETERS)).id
    if template is not None:
        try:
            market.create_worker_group(made, fields | {"template_hash": template})
        except Exception:
            # One that can have no worker would only be in the way of the next attempt.
            market.delete_endpoint(made)
            raise
    mine = found(session, str(made))
    if wait and not _has_workers(mine):
        sys.stderr.write("Nothing to wait for: no worker is rented before the first request.\n")
    elif wait:
        until_ready(session, made, timeout)
    if session.raw:
        print_json(mine)
        return
    # The server names what has no name.
    name = mine.endpoint_name
    print_line(f"Endpoint {made} ({name}). Its clients' key: {mine.api_key}")
    if template is None:
        shown = shlex.quote(name)
        print_line(f"It has no workers yet: mercato worker-group create {shown} --template HASH")
    else:
        print_line(f"OpenAI clients call it at {session.url.rstrip('/')}/openai/{quote(name)}/v1")


def _has_workers(mine: "Endpoint") -> bool:
    """Whether it has a worker even while nobody asks."""
    always = mine.inactivity_timeout is not None and mine.inactivity_timeout < 0
    return always or max(mine.cold_workers, mine.min_load, mine.min_cold_load) > 0


@speaks(endpoint, "ls")
def list_endpoints(session: Session) -> None:
    """Your endpoints.

    Example: mercato endpoint ls
    """
    from mercato.sdk import endpoint_calls

    session.give(
        endpoint_calls.endpoints(),
        lambda mine: print_table(
            ("ID>", "NAME", "STATE", "POLICY", "WORKERS>", "MIN LOAD>", "UTIL>", "LATE AFTER>"),
            [
                (
                    each.id,
                    each.endpoint_name,
                    each.endpoint_state,
                    each.policy,
                    f"{each.cold_workers}-{each.max_workers}",
                    number(each.min_load, 1),
                    f"{each.target_util:.0%}",
                    span(each.target_queue_time),
                )
                for each in mine
            ],
            "You have no endpoints. Make one: mercato endpoint create NAME",
        ),
    )


@speaks(endpoint, "show")
def show(session: Session, endpoint: Named) -> None:
    """Everything about one endpoint: parameters, key, worker groups, workers.

    Example: mercato endpoint show llm
    """
    mine = found(session, endpoint)
    groups = [one for one in session.market.worker_groups() if one.endpoint_id == mine.id]
    workers = session.market.endpoint_workers(mine.id)
    if session.raw:
        print_json(msgspec.to_builtins(mine) | {"worker_groups": groups, "workers": workers})
        return
    facts = msgspec.structs.asdict(mine) | {"created_at": moment(mine.created_at)}
    for name, value in facts.items():
        print_line(f"{name:<20} {'-' if value is None else value}")
    print_line("")
    from mercato.cli.worker_groups import print_groups

    print_groups(groups)
    print_line("")
    print_workers(workers)


@speaks(endpoint, "update", also=PARAMETERS)
def update(
    session: Session,
    /,
    endpoint: Named,
    *,
    name: Annotated[str | None, Option("--name", help="Another name.")] = None,
    state: Annotated[
        State | None, Option("--state", help="suspended: left as it is; stopped: all asleep.")
    ] = None,
    **options: Any,
) -> None:
    """Change an endpoint's parameters; what is not given stays as it is.

    For example:

        mercato endpoint update llm --max-workers 8 --target-util 0.8

        mercato endpoint update llm --state stopped
    """
    changes = given(options, PARAMETERS)
    changes |= {} if name is None else {"endpoint_name": name}
    changes |= {} if state is None else {"endpoint_state": state.value}
    if not changes:
        raise Trouble("nothing to change; see: mercato endpoint update --help", exit_code=2)
    from mercato.sdk import endpoint_calls

    mine = found(session, endpoint)
    session.do(
        endpoint_calls.change_endpoint(mine.id, changes),
        f"Endpoint {mine.endpoint_name} is changed: {', '.join(sorted(changes))}.",
    )


@speaks(endpoint, "rm")
def remove(session: Session, endpoint: Named, *, yes: Yes = False) -> None:
    """Delete an endpoint with its worker groups; its workers are destroyed.

    Example: mercato endpoint rm llm --yes
    """
    from mercato.sdk import endpoint_calls

    mine = found(session, endpoint)
    session.confirm(f"Delete {mine.endpoint_name} and destroy its workers?", yes=yes)
    session.give(endpoint_calls.delete_endpoint(mine.id), lambda deleted: print_line(deleted.msg))
