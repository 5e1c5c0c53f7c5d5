"""`mercato bill`: credit, what rentals cost, and statements that can be checked by oneself."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mercato.cli.command import Argument, Option, command, deepened, group
from mercato.cli.errors import Trouble
from mercato.cli.session import Session, print_json, print_line, print_table
from mercato.cli.text import moment, money, span
from mercato.cli.tree import speaks

if TYPE_CHECKING:
    from mercato.market.usage import Statement
    from mercato.sdk.shapes import Charge

app = group("mercato")


@speaks(app, "bill")
def bill(
    session: Session,
    days: Annotated[float, Option("--days", help="How far to look back.")] = 30.0,
    *,
    detail: Annotated[bool, Option("--detail", help="Every line by itself.")] = False,
) -> None:
    """Your credit, and what each rental cost: GPU, disk and traffic.

    For example:

        mercato bill --days 1

        mercato bill --raw
    """
    now = int(time.time())  # noqa: TID251 - a person asks about the days before this moment
    user = session.market.user()
    charges = session.market.charges(now - int(days * 86_400), now + 86_400)
    if session.raw:
        print_json({"credit": user.credit, "balance": user.balance, "charges": charges})
        return
    print_line(f"Credit: {money(user.credit)}")
    rows = lines(charges if detail else folded(charges))
    print_table(("WHAT", "SPAN>", "AMOUNT>", "DESCRIPTION"), rows, "Nothing was charged.")
    print_line(f"Total: {money(sum(each.amount for each in charges))}")


def lines(charges: Sequence["Charge"], depth: int = 0) -> list[tuple[str, str, str, str]]:
    """Charges as rows of a table, each before what it is made of."""
    rows: list[tuple[str, str, str, str]] = []
    for each in charges:
        covered = None if each.start is None or each.end is None else each.end - each.start
        rows.append(
            ("  " * depth + _name(each), span(covered), money(each.amount), each.description)
        )
        rows += lines(each.items, depth + 1)
    return rows


def _name(charge: "Charge") -> str:
    """What was charged for: the contract, or in one of its lines the kind."""
    return charge.source or charge.type


def folded(charges: Sequence["Charge"]) -> list["Charge"]:
    """The same charges, with what each is made of in one line a kind."""
    import msgspec

    return [msgspec.structs.replace(each, items=_by_kind(each.items)) for each in charges]


def _by_kind(items: Sequence["Charge"]) -> list["Charge"]:
    import msgspec

    kinds: dict[str, list[Charge]] = {}
    for each in items:
        kinds.setdefault(_name(each), []).append(each)
    return [
        rows[0]
        if len(rows) == 1
        else msgspec.structs.replace(
            rows[0],
            start=min((row.start for row in rows if row.start is not None), default=None),
            end=max((row.end for row in rows if row.end is not None), default=None),
            amount=sum(row.amount for row in rows),
            description=f"{len(rows)} lines; mercato bill --detail shows each",
            items=[],
        )
        for rows in kinds.values()
    ]


below_bill = deepened(app, "bill")


@speaks(below_bill, "invoices")
def invoices(
    session: Session,
    *,
    days: Annotated[float, Option("--days", help="How far to look back.")] = 365.0,
) -> None:
    """What came into or left your credit other than for rentals: payments, gifts, deposits.

    Example: mercato bill invoices --days 31
    """
    now = time.time()  # noqa: TID251 - a person asks about the days before this moment
    moved = session.market.invoices(now - days * 86_400, now + 86_400)
    if session.raw:
        print_json({"invoices": moved})
        return
    print_table(
        ("WHEN", "WHAT", "AMOUNT>", "DESCRIPTION"),
        [(moment(each.start), each.type, money(_gained(each)), each.description) for each in moved],
        "Nothing came in or left.",
    )


def _gained(moved: "Charge") -> float:
    """What the credit gained: of all but gifts the API tells what was paid for it."""
    return moved.amount if moved.type == "transfer" else -moved.amount


@speaks(below_bill, "download")
def download(
    session: Session,
    file: Annotated[Path, Argument(help="Where to write it.")],
    days: Annotated[
        float | None, Option("--days", help="How far to look back; everything otherwise.")
    ] = None,
) -> None:
    """Write a statement: every charge with what it is for, signed by the market.

    The market's key is remembered the first time, so that `bill verify` knows it again.

    Example: mercato bill download march.json --days 31
    """
    import msgspec

    from mercato.cli.known_keys import remember

    since = 0.0 if days is None else time.time() - days * 86_400  # noqa: TID251 - a person asks about the days before this moment
    statement = session.market.statement(since=since)
    remember(statement.summary.market, session.market.usage_key())
    try:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(statement), indent=1))
    except OSError as error:
        raise Trouble(f"cannot write {file}: {error.strerror}") from error
    if session.raw:
        print_json(statement.summary)
    else:
        count = len(statement.records)
        print_line(f"{count} record(s), {money(statement.summary.total / 1e9)}, in {file}")


@command(below_bill, "verify")
def verify(
    file: Annotated[Path, Argument(help="A statement from `mercato bill download`.")],
    key: Annotated[
        str | None,
        Option("--key", help="The market's public key; otherwise the one remembered for it."),
    ] = None,
) -> None:
    """Compute a bill again from a statement alone, and check that nothing in it was touched.

    No server is asked. It fails when a record was changed, dropped, added or put elsewhere.

    Example: mercato bill verify march.json
    """
    from mercato.cli.known_keys import known
    from mercato.market.usage import Forged, checked
    from mercato.wire.sealing import Checker

    statement = _read(file)
    trusted = key or known(statement.summary.market)
    if trusted is None:
        raise Trouble(
            f"no key is known for {statement.summary.market}; give --key (the market shows it at "
            "/api/v0/usage_records/key)"
        )
    try:
        lines = checked(statement, Checker.of(trusted).is_signed)
    except ValueError as error:
        raise Trouble(f"{trusted!r} is not a public key: {error}") from error
    except Forged as forged:
        raise Trouble(f"{file} is not what {statement.summary.market} issued: {forged}") from forged
    print_table(
        ("CONTRACT>", "ITEM", "AMOUNT>"),
        [(contract, item, _exact(amount)) for (contract, item), amount in sorted(lines.items())],
        "Nothing was charged.",
    )
    summary = statement.summary
    print_line(
        f"Verified: {len(statement.records)} record(s) of account {summary.account}, "
        f"{_exact(summary.total)} in all, signed by {trusted[:16]}…"
    )


def _read(file: Path) -> "Statement":
    import msgspec

    from mercato.market.usage import Statement

    try:
        return msgspec.json.decode(file.read_bytes(), type=Statement)
    except OSError as error:
        raise Trouble(f"cannot read {file}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Trouble(f"{file} is not a statement: {error}") from error


def _exact(amount: int) -> str:
    """Dollars to the last nano-dollar."""
    return f"${amount // 10**9:,}.{amount % 10**9:09}"
