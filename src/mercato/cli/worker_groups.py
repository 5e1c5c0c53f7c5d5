"""`mercato worker-group`: what an endpoint's workers run, and on which offers."""

from typing import TYPE_CHECKING, Annotated, Any

from mercato.cli.command import Argument, Option, Yes, group
from mercato.cli.endpoint.group import Named, found
from mercato.cli.endpoint.options import GROUP, given
from mercato.cli.errors import Trouble
from mercato.cli.session import Session, print_json, print_line, print_table
from mercato.cli.tree import speaks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mercato.sdk.endpoint_calls import WorkerGroup

app = group("mercato")
worker_group = group(
    "worker-group", "What an endpoint's workers run, and on which offers.", below=app
)

Number = Annotated[int, Argument(metavar="GROUP", help="The worker group's id.")]


@speaks(worker_group, "create", also=GROUP)
def create(
    session: Session,
    /,
    endpoint: Named,
    *,
    template: Annotated[str, Option("--template", help="The hash of what its workers run.")],
    **options: Any,
) -> None:
    """Give an endpoint workers of a template, on hardware that a query finds.

    Example: mercato worker-group create llm --template 5f3b... --query 'gpu_ram>=24 num_gpus=1'
    """
    from mercato.sdk import endpoint_calls

    mine = found(session, endpoint)
    fields = given(options, GROUP) | {"template_hash": template}
    session.give(
        endpoint_calls.create_worker_group(mine.id, fields),
        lambda made: print_line(f"Worker group {made.id} of endpoint {mine.endpoint_name}."),
    )


@speaks(worker_group, "ls")
def list_groups(
    session: Session,
    endpoint: Annotated[str | None, Argument(help="Only those of this endpoint.")] = None,
) -> None:
    """Your worker groups.

    Example: mercato worker-group ls llm
    """
    mine = None if endpoint is None else found(session, endpoint).id
    rows = [
        one for one in session.market.worker_groups() if mine is None or one.endpoint_id == mine
    ]
    if session.raw:
        print_json(rows)
    else:
        print_groups(rows)


def print_groups(rows: "Sequence[WorkerGroup]") -> None:
    """Print worker groups as a table."""
    print_table(
        ("GROUP>", "ENDPOINT", "TEMPLATE<", "QUERY", "LAUNCH ARGUMENTS", "VRAM>", "VERSION>"),
        [
            (
                each.id,
                each.endpoint_name,
                each.template_hash,
                each.search_params,
                each.launch_args,
                None if each.gpu_ram is None else f"{each.gpu_ram:g}G",
                each.version,
            )
            for each in rows
        ],
        "There are no worker groups. Make one: mercato worker-group create --help",
    )


@speaks(worker_group, "update", also=GROUP)
def update(
    session: Session,
    /,
    number: Number,
    *,
    template: Annotated[
        str | None, Option("--template", help="The hash of what its workers run.")
    ] = None,
    **options: Any,
) -> None:
    """Change a worker group; when what its workers run changed, they are made anew one by one.

    Example: mercato worker-group update 4 --template 77ab...
    """
    fields = given(options, GROUP) | ({} if template is None else {"template_hash": template})
    if not fields:
        raise Trouble("nothing to change; see: mercato worker-group update --help", exit_code=2)
    from mercato.sdk import endpoint_calls

    session.do(
        endpoint_calls.change_worker_group(number, fields), f"Worker group {number} is changed."
    )


@speaks(worker_group, "renew")
def renew(
    session: Session,
    number: Number,
    *,
    cancel: Annotated[bool, Option("--cancel", help="Leave those that are left.")] = False,
) -> None:
    """Make a group's workers anew one after another, each once it has finished what it does.

    For example:

        mercato worker-group renew 4

        mercato worker-group renew 4 --cancel
    """
    from mercato.sdk import endpoint_calls

    then = "left as they are" if cancel else "made anew, one after another"
    session.give(
        endpoint_calls.renew_workers(number, cancel=cancel),
        lambda done: print_line(f"{done.workers_to_update} worker(s) are {then}."),
    )


@speaks(worker_group, "rm")
def remove(session: Session, number: Number, *, yes: Yes = False) -> None:
    """Delete a worker group; its workers are destroyed.

    Example: mercato worker-group rm 4 --yes
    """
    from mercato.sdk import endpoint_calls

    session.confirm(f"Delete worker group {number} and destroy its workers?", yes=yes)

    session.give(
        endpoint_calls.delete_worker_group(number), lambda deleted: print_line(deleted.msg)
    )
