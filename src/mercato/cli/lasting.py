"""`mercato increases` and `mercato maintenance`: how contracts and machines go on."""

import re
import time
from typing import TYPE_CHECKING, Annotated, Final

from mercato.cli.command import Argument, Option, deepened, group
from mercato.cli.errors import Trouble
from mercato.cli.session import Session, print_line, print_table
from mercato.cli.text import moment, money
from mercato.cli.tree import speaks

if TYPE_CHECKING:
    from mercato.sdk.lasting_calls import PriceIncrease

app = group("mercato")

S_PER_HOUR: Final = 3_600
S_PER_MONTH: Final = 30 * 86_400
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([mhd])")
_UNIT_S: Final = {"m": 60.0, "h": 3_600.0, "d": 86_400.0}

Increase = Annotated[int, Argument(metavar="ID", help="The price increase's id.")]
Machine = Annotated[int, Argument(metavar="MACHINE", help="The machine's id.")]


@speaks(app, "increases")
def increases(session: Session) -> None:
    """Higher prices that hosts ask for your contracts to go on past their end.

    Until you accept, nothing changes, and the contract ends as it was signed.

    Example: mercato increases
    """
    from mercato.sdk import lasting_calls

    session.give(
        lasting_calls.price_increases(),
        lambda found: print_table(
            (
                *("ID>", "INSTANCE>", "ENDS", "WOULD END", "$/GPU/H<", "$/GB/MONTH<"),
                *("$/GB UP<", "$/GB DOWN<"),
            ),
            [_row(each) for each in found],
            "No host asks for more.",
        ),
    )


def _row(increase: "PriceIncrease") -> tuple[object, ...]:
    def change(old: float, new: float | None, per: float = 1.0) -> str:
        return "as now" if new is None else f"{money(old * per)} → {money(new * per)}"

    return (
        increase.pending_price_increase_id,
        increase.contract_id,
        moment(increase.contract_end_date),
        moment(increase.ask_end_date),
        change(increase.old_gpu_costpersec, increase.new_gpu_costpersec, S_PER_HOUR),
        change(increase.old_disk_ram_costpersec, increase.new_disk_ram_costpersec, S_PER_MONTH),
        change(increase.old_bwu_cost, increase.new_bwu_cost),
        change(increase.old_bwd_cost, increase.new_bwd_cost),
    )


below_increases = deepened(app, "increases")


@speaks(below_increases, "accept")
def accept(session: Session, increase: Increase) -> None:
    """Have a contract go on at the higher prices.

    Example: mercato increases accept 4
    """
    from mercato.sdk import lasting_calls

    session.give(lasting_calls.answer_price_increase(increase, accept=True), print_line)


@speaks(below_increases, "reject")
def reject(session: Session, increase: Increase) -> None:
    """Have a contract end as it was signed.

    Example: mercato increases reject 4
    """
    from mercato.sdk import lasting_calls

    session.give(lasting_calls.answer_price_increase(increase, accept=False), print_line)


@speaks(app, "maintenance")
def maintenance(session: Session) -> None:
    """The windows in which your machines may be down.

    Example: mercato maintenance
    """
    from mercato.sdk import lasting_calls

    session.give(
        lasting_calls.maintenances(),
        lambda found: print_table(
            ("MACHINE>", "FROM", "UNTIL", "REASON"),
            [
                (
                    each.machine_id,
                    moment(each.start_time),
                    moment(each.end_time),
                    each.maintenance_reason or each.maintenance_category,
                )
                for each in found
            ],
            "No maintenance is announced.",
        ),
    )


below_maintenance = deepened(app, "maintenance")


@speaks(below_maintenance, "announce")
def announce(
    session: Session,
    machine: Machine,
    *,
    begins_in: Annotated[str, Option("--in", help="How long from now: 36h, 2d, 90m.")] = "24h",
    hours: Annotated[float, Option("--hours", help="How long it may be down.")],
    reason: Annotated[str, Option("--reason", help="For its renters.")] = "",
) -> None:
    """Tell a machine's renters that it may be down; a day before, it costs no reliability.

    Example: mercato maintenance announce 3 --in 36h --hours 2 --reason 'new driver'
    """
    found = _SPAN.fullmatch(begins_in.strip())
    if found is None:
        raise Trouble(f"--in {begins_in!r} is no span such as 36h, 2d or 90m", exit_code=2)
    from mercato.sdk import lasting_calls

    begins = time.time() + float(found[1]) * _UNIT_S[found[2]]  # noqa: TID251 - so long after now
    try:
        shown = moment(begins)
    except (OverflowError, ValueError):
        raise Trouble(f"--in {begins_in} is beyond every calendar", exit_code=2) from None
    session.do(
        lasting_calls.announce_maintenance(machine, begins, hours, reason=reason),
        f"The renters of machine {machine} are told: {hours:g} h from {shown}.",
    )


@speaks(below_maintenance, "cancel")
def cancel(session: Session, machine: Machine) -> None:
    """Call off the windows of a machine that are not over.

    Example: mercato maintenance cancel 3
    """
    from mercato.sdk import lasting_calls

    session.give(lasting_calls.cancel_maintenance(machine), print_line)
