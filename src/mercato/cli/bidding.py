"""`mercato bid` and `mercato auction`: what you bid, what a bid wins, and who won what and why."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mercato.cli.command import Argument, Option, command, group
from mercato.cli.errors import Trouble
from mercato.cli.session import Session, print_json, print_line, print_table
from mercato.cli.text import moment, money, span
from mercato.cli.tree import speaks

if TYPE_CHECKING:
    from mercato.market.auction import Claim, Outcome
    from mercato.sdk.bid_calls import Bid, Clearing, Trial

app = group("mercato")

Instance = Annotated[int, Argument(help="The instance's id.")]


@speaks(app, "bid")
def bid(
    session: Session,
    instance: Instance,
    price: Annotated[
        float | None, Argument(help="Dollars an hour for all its GPUs; left out: what wins now.")
    ] = None,
) -> None:
    """Bid another price for an instance that you rented by bid.

    For example:

        mercato bid 7 0.35

        mercato bid 7
    """
    from mercato.sdk import bid_calls

    session.give(bid_calls.change_bid(instance, price), lambda made: _say_bid(instance, made))


def _say_bid(instance: int, made: "Bid") -> None:
    then = {None: "it is stopped", True: "it wins", False: "others pay more"}[made.wins]
    print_line(f"Instance {instance} bids {money(made.price)} an hour: {then}.")


@speaks(app, "reschedule")
def reschedule(
    session: Session,
    instance: Instance,
    *,
    same: Annotated[bool, Option("--same", help="On the same GPUs only, as at first.")] = False,
) -> None:
    """Let an instance come back on any equal GPUs of its machine, with its files.

    Example: mercato reschedule 7
    """
    from mercato.sdk import bid_calls

    where = "the same GPUs only" if same else "any equal GPUs of its machine"
    call = bid_calls.reschedule(instance, anywhere=not same)
    session.do(call, f"Instance {instance} comes back on {where}.")


auction = group(
    "auction", "What a bid would win; who was given a machine's GPUs, and why.", below=app
)


@speaks(auction, "try")
def try_bid(
    session: Session,
    offer: Annotated[int, Argument(help="The offer's id, as `mercato offers` shows it.")],
    price: Annotated[float, Argument(help="Dollars an hour for the whole offer.")],
    hours: Annotated[float, Option("--hours", help="How far to look back.")] = 24.0,
) -> None:
    """Say what a bid would win now and would have won lately; nothing is rented.

    Example: mercato auction try 512 0.25
    """
    from mercato.sdk import bid_calls

    session.give(bid_calls.try_bid(offer, price, hours=hours), _say_trial)


def _say_trial(trial: "Trial") -> None:
    if trial.wins:
        over = f", and displaces {', '.join(map(str, trial.displaces))}" if trial.displaces else ""
        print_line(f"It would win now{over}.")
    elif trial.min_bid is None:
        print_line("It would not win now: on-demand or reserved contracts have these GPUs.")
    else:
        print_line(f"It would not win now: that takes {money(trial.min_bid)} an hour.")
    if trial.held_share is None:
        print_line("Nothing is known of the time before.")
        return
    print_line(
        f"Of the last {span(trial.known_s)} it would have held them {trial.held_share:.0%}, for"
        f" {span(trial.longest_s)} at the longest, displaced {trial.displacements} time(s)."
    )


@speaks(auction, "log")
def log(
    session: Session,
    machine: Annotated[int, Argument(help="The machine's id.")],
) -> None:
    """Who was given a machine's GPUs, every time that something changed, the latest first.

    With --raw it is everything that was decided from, for `mercato auction replay`.

    For example:

        mercato auction log 3

        mercato auction log 3 --raw > clearings.json
    """
    from mercato.sdk import bid_calls

    found: list[Clearing] = []
    before: int | None = None
    while True:
        page, before = session.market.send(bid_calls.clearings_page(machine, before))
        found += page
        if before is None:
            break
    if session.raw:
        print_json({"clearings": found})
        return
    rows = [(each.id, moment(each.at_ms / 1_000), "; ".join(_words(each))) for each in found]
    print_table(("ID>", "WHEN", "WHAT"), rows, "Nothing was decided there yet.")


@command(auction, "replay")
def replay(
    file: Annotated[Path, Argument(help="What `mercato auction log MACHINE --raw` printed.")],
) -> None:
    """Decide every logged verdict again, by the same rules, with no access to any server.

    Example: mercato auction replay clearings.json
    """
    logged = _read(file)
    for each in logged:
        if not _follows(each):
            raise Trouble(f"verdict {each.id} does not follow from its claims")
    print_line(f"{len(logged)} verdict(s) follow from their claims.")


def _read(file: Path) -> Sequence["Clearing"]:
    import msgspec

    from mercato.sdk.bid_calls import Clearing

    try:
        read = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
        return msgspec.convert(read["clearings"], list[Clearing])
    except OSError as error:
        raise Trouble(f"{file} cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, KeyError) as error:
        raise Trouble(f"{file} is no log of verdicts: {error}") from None


def _follows(logged: "Clearing") -> bool:
    """Whether the rules make a logged verdict of its claims."""
    from mercato.market.auction import clear

    # A file may say anything, and no rule says what becomes of claims that cannot be.
    try:
        return clear(logged.gpus, _claims(logged), logged.at_ms).outcomes == _outcomes(logged)
    except (AssertionError, ArithmeticError, LookupError, ValueError) as error:
        raise Trouble(f"verdict {logged.id} and its claims cannot be: {error}") from None


def _words(logged: "Clearing") -> list[str]:
    """A verdict for a person, a sentence a contract."""
    from mercato.market.auction import explain

    claims = {claim.contract: claim for claim in _claims(logged)}
    return [f"{one.contract}: {explain(one, claims)}" for one in _outcomes(logged)]


def _claims(logged: "Clearing") -> "list[Claim]":
    import msgspec

    from mercato.market.auction import Claim

    return msgspec.convert(logged.claims, list[Claim])


def _outcomes(logged: "Clearing") -> "tuple[Outcome, ...]":
    import msgspec

    from mercato.market.auction import Outcome

    return msgspec.convert(logged.verdict, tuple[Outcome, ...])
