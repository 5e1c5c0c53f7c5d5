"""`mercato rent, ps, show, start, stop, reboot, rm`: a rental from the outside."""

import shlex
import time
from typing import TYPE_CHECKING, Annotated, Final

from mercato.cli.command import Argument, Option, Timeout, Yes, group
from mercato.cli.errors import Trouble
from mercato.cli.launching import Disk, Env, Image, Label, Onstart, Template
from mercato.cli.session import Session, print_json, print_line, print_table
from mercato.cli.text import money, shown, span
from mercato.cli.tree import speaks
from mercato.cli.waiting import state_of, until_running

if TYPE_CHECKING:
    from mercato.sdk.shapes import Instance as Shown

app = group("mercato")

MESSAGE_MAX: Final = 100
"""More of a message than this is shown by `mercato show`."""

Instance = Annotated[int, Argument(metavar="INSTANCE", help="The instance's id.")]
Instances = Annotated[tuple[int, ...], Argument(metavar="INSTANCE...", help="Instances' ids.")]


@speaks(app, "rent")
def rent(  # noqa: PLR0913 - a rental has these parts, each an option
    session: Session,
    offer: Annotated[int, Argument(help="The offer's id, as `mercato offers` shows it.")],
    *,
    image: Image = None,
    template: Template = None,
    disk: Disk = 10.0,
    env: Env = None,
    volume: Annotated[
        tuple[str, ...], Option("--volume", "-v", help="Mount a volume of yours: V.12:/data")
    ] = (),
    onstart: Onstart = None,
    label: Label = None,
    jupyter: Annotated[bool, Option("--jupyter", help="Start a JupyterLab too.")] = False,
    login: Annotated[
        str | None, Option("--login", help="For a private image: '-u USER -p PASS HOST'")
    ] = None,
    bid: Annotated[
        float | None, Option("--bid", help="Bid $/h: cheaper, and may be interrupted.")
    ] = None,
    anywhere: Annotated[
        bool, Option("--anywhere", help="Let it come back on any equal GPUs of its machine.")
    ] = False,
    queue: Annotated[
        bool, Option("--queue", help="Wait for the GPUs when they are not to be had now.")
    ] = False,
    wait: Annotated[bool, Option("--wait", "-w", help="Wait until it runs.")] = False,
    timeout: Timeout = 900.0,
) -> None:
    """Rent an offer.

    For example:

        mercato rent 512 --image debian:12 --disk 20 --wait

        mercato rent 512 --image pytorch/pytorch --env '-e MODE=train -p 8080:8080' --label mine
    """
    from mercato.sdk import calls

    if image is None and template is None:
        raise Trouble("what should run? Give --image or --template", exit_code=2)
    runtype = "ssh_direct ssh_proxy"
    answer = session.market.send(
        calls.rent(
            offer,
            image=image,
            template=template,
            disk_gb=disk,
            env=" ".join([env or "", *(f"-v {shlex.quote(each)}" for each in volume)]).strip()
            or None,
            onstart=onstart,
            label=label,
            runtype=f"jupyter_direct {runtype}" if jupyter else runtype,
            login=login,
            bid=bid,
            reschedule=anywhere,
            cancel_unavailable=not queue,
        )
    )
    if wait:
        instance = until_running(session.market, answer.new_contract, timeout)
        if session.raw:
            print_json(instance)
            return
        print_line(f"Instance {instance.id} runs. Next: mercato ssh {instance.id}")
    elif session.raw:
        print_json(answer)
    else:
        print_line(answer.msg or f"Instance {answer.new_contract} is yours.")
        print_line("Next: mercato ps")


@speaks(app, "ps")
def ps(session: Session) -> None:
    """Your instances.

    Example: mercato ps --raw
    """
    if session.raw:
        print_json(session.market.instances())
        return
    now = time.time()  # noqa: TID251 - ages are shown to a person, against the wall clock
    print_table(
        ("ID>", "STATE<", "GPUS", "$/H>", "DISK>", "IMAGE", "SSH", "LABEL", "AGE>", "MESSAGE"),
        [
            (
                each.id,
                _state(each),
                f"{each.num_gpus}x {each.gpu_name}",
                money(each.dph_total),
                f"{each.disk_space or 0:.0f}G",
                each.image_uuid,
                "-" if each.door() is None else "{}:{}".format(*(each.door() or ())),
                each.label,
                span(None if each.start_date is None else now - each.start_date),
                (each.status_msg or "")[:MESSAGE_MAX],
            )
            for each in session.market.instances()
        ],
        "You rent nothing. Search with: mercato offers",
    )


def _state(instance: "Shown") -> str:
    """Its state, with its place in the queue while it waits."""
    waits = instance.queue_position
    return state_of(instance) if waits is None else f"{state_of(instance)}, place {waits}"


@speaks(app, "show")
def show(session: Session, instance: Instance) -> None:
    """Everything about one instance, as the API gives it; secrets only with --raw.

    Example: mercato show 7 --raw
    """
    from mercato.sdk import calls

    answer = session.market.fetch(calls.instance(instance))["instances"]
    if answer is None:
        raise Trouble(f"you have no instance {instance}")
    if session.raw:
        print_json(answer)
        return
    print_table(
        ("FIELD<", "VALUE"),
        [
            (name, shown(name, value))
            for name, value in sorted(answer.items())
            if value not in (None, "", [])
        ],
        "",
    )


@speaks(app, "start")
def start(session: Session, instances: Instances) -> None:
    """Start stopped instances, once their GPUs are free.

    Example: mercato start 7
    """
    from mercato.sdk import calls

    session.do_each([(calls.start(each), f"Instance {each} is starting.") for each in instances])


@speaks(app, "stop")
def stop(session: Session, instances: Instances) -> None:
    """Stop instances: their disks are kept and billed, their GPUs are let go.

    Example: mercato stop 7 8
    """
    from mercato.sdk import calls

    session.do_each([(calls.stop(each), f"Instance {each} is stopping.") for each in instances])


@speaks(app, "reboot")
def reboot(session: Session, instances: Instances) -> None:
    """Restart instances' containers in place.

    Example: mercato reboot 7
    """
    from mercato.sdk import calls

    session.do_each([(calls.reboot(each), f"Instance {each} is rebooting.") for each in instances])


@speaks(app, "recycle")
def recycle(session: Session, instance: Instance) -> None:
    """Make an instance's container anew from its image, keeping its GPUs; what it wrote is lost.

    Example: mercato recycle 7
    """
    from mercato.sdk import calls

    session.do(calls.recycle(instance), f"Instance {instance} is made anew.")


@speaks(app, "update")
def update(
    session: Session,
    instance: Instance,
    *,
    image: Annotated[str | None, Option("--image", "-i", help="Another Docker image.")] = None,
    template: Annotated[str | None, Option("--template", help="Another template's hash.")] = None,
    env: Env = None,
    onstart: Onstart = None,
) -> None:
    """Have an instance run something else, on the same GPUs; what is not given stays as it is.

    Example: mercato update 7 --image debian:13
    """
    from mercato.sdk import lasting_calls

    given = {"image": image, "template_hash_id": template, "env": env, "onstart": onstart}
    fields = {name: value for name, value in given.items() if value is not None}
    if not fields:
        raise Trouble("nothing to change; see: mercato update --help", exit_code=2)
    session.do(
        lasting_calls.update_instance(instance, fields), f"Instance {instance} is made anew so."
    )


@speaks(app, "label")
def label(
    session: Session,
    instance: Instance,
    text: Annotated[str, Argument(help="The name; '' for none.")],
) -> None:
    """Give an instance a name of your own.

    Example: mercato label 7 training
    """
    from mercato.sdk import calls

    session.do(calls.label(instance, text), f"Instance {instance} is called {text!r}.")


@speaks(app, "rm")
def rm(
    session: Session,
    instances: Instances,
    *,
    yes: Yes = False,
) -> None:
    """Destroy instances and their disks for good.

    Example: mercato rm 7 --yes
    """
    from mercato.sdk import calls

    session.confirm(f"Destroy {', '.join(map(str, instances))} and all data in it?", yes=yes)
    session.do_each([(calls.destroy(each), f"Instance {each} is destroyed.") for each in instances])
