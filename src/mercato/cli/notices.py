"""`mercato events` and `mercato webhooks`: what happened, told to people and to programs."""

from typing import TYPE_CHECKING, Annotated

from mercato.cli.command import Argument, Option, deepened, group
from mercato.cli.errors import Trouble
from mercato.cli.session import Session, print_line, print_table
from mercato.cli.text import moment
from mercato.cli.tree import speaks

if TYPE_CHECKING:
    from mercato.sdk.notice_calls import Webhook

app = group("mercato")

Number = Annotated[int, Argument(metavar="WEBHOOK", help="The webhook's id.")]
Kinds = Annotated[
    tuple[str, ...], Option("--kind", "-k", help="Only this kind of event; may be repeated.")
]


@speaks(app, "events")
def events(
    session: Session,
    *,
    limit: Annotated[int, Option("--limit", "-n", help="At most this many.")] = 50,
) -> None:
    """What happened to you and what is yours, and why; the latest first.

    Example: mercato events -n 10
    """
    from mercato.sdk import notice_calls

    session.give(
        notice_calls.notifications(limit=limit),
        lambda found: print_table(
            ("WHEN", "WHAT", "INSTANCE>", "MACHINE>", "MESSAGE", "REASON"),
            [
                (
                    moment(each.created_at),
                    each.kind,
                    each.instance_id,
                    each.machine_id,
                    each.message,
                    each.reason,
                )
                for each in found
            ],
            "Nothing happened yet.",
        ),
    )


@speaks(app, "webhooks")
def webhooks(session: Session) -> None:
    """The addresses at which your own programs are told of what happens.

    Example: mercato webhooks
    """
    from mercato.sdk import notice_calls

    session.give(
        notice_calls.webhooks(),
        lambda found: print_table(
            ("ID>", "NAME", "URL", "KINDS"),
            [(each.id, each.name, each.url, ", ".join(each.kinds) or "all") for each in found],
            "You have no webhooks. Add one: mercato webhooks add URL",
        ),
    )


below_webhooks = deepened(app, "webhooks")


@speaks(below_webhooks, "add")
def add(
    session: Session,
    address: Annotated[str, Argument(metavar="URL", help="Where events are posted.")],
    *,
    name: Annotated[str, Option("--name", help="A name of your own.")] = "",
    kind: Kinds = (),
) -> None:
    """Have a URL told of what happens to you; its secret is shown this once.

    What is posted is signed with it: X-Vast-Signature-256 is sha256= and the HMAC-SHA256 of
    X-Vast-Timestamp, a dot and the body. The kinds are those that `mercato events` shows.

    Example: mercato webhooks add https://example.com/hook --kind credit_low --kind limit_reached
    """
    from mercato.sdk import notice_calls

    session.give(notice_calls.add_webhook(address, name=name, kinds=kind), _print_secret)


def _print_secret(made: "Webhook") -> None:
    print_line(f"Webhook {made.id}, secret {made.secret}")
    print_line(f"Try it: mercato webhooks test {made.id}")


@speaks(below_webhooks, "update")
def update(
    session: Session,
    number: Number,
    *,
    address: Annotated[str | None, Option("--to", help="Another address.")] = None,
    name: Annotated[str | None, Option("--name", help="Another name.")] = None,
    kind: Kinds = (),
    every: Annotated[bool, Option("--all-kinds", help="All kinds of events again.")] = False,
) -> None:
    """Give a webhook another address, name or choice of kinds.

    Example: mercato webhooks update 3 --kind instance_outbid
    """
    if kind and every:
        raise Trouble("give --kind or --all-kinds", exit_code=2)
    if address is None and name is None and not kind and not every:
        raise Trouble("nothing to change; see: mercato webhooks update --help", exit_code=2)
    from mercato.sdk import notice_calls

    kinds = kind if kind or every else None
    session.do(
        notice_calls.change_webhook(number, url=address, name=name, kinds=kinds),
        f"Webhook {number} is changed.",
    )


@speaks(below_webhooks, "test")
def test(session: Session, number: Number) -> None:
    """Have a webhook told that this is a test.

    Example: mercato webhooks test 3
    """
    from mercato.sdk import notice_calls

    session.do(
        notice_calls.test_webhook(number),
        f"Webhook {number} is told in a moment; see: mercato webhooks log {number}",
    )


@speaks(below_webhooks, "log")
def log(session: Session, number: Number) -> None:
    """What a webhook was told lately, and how that went.

    Example: mercato webhooks log 3
    """
    from mercato.sdk import notice_calls

    session.give(
        notice_calls.told(number),
        lambda found: print_table(
            ("WHEN", "WHAT", "TRIES>", "ANSWER>", "NEXT TRY", "TROUBLE"),
            [
                (
                    moment(each.created_at),
                    each.kind,
                    each.attempts,
                    each.status,
                    moment(each.next_at),
                    each.problem,
                )
                for each in found
            ],
            "It was told nothing yet. Try it: mercato webhooks test ID",
        ),
    )


@speaks(below_webhooks, "rotate")
def rotate(session: Session, number: Number) -> None:
    """Give a webhook another secret, which is shown this once.

    Example: mercato webhooks rotate 3
    """
    from mercato.sdk import notice_calls

    session.give(notice_calls.rotate_webhook_secret(number), _print_secret)


@speaks(below_webhooks, "rm")
def remove(session: Session, number: Number) -> None:
    """Have a webhook told nothing more.

    Example: mercato webhooks rm 3
    """
    from mercato.sdk import notice_calls

    session.do(notice_calls.remove_webhook(number), f"Webhook {number} is removed.")
