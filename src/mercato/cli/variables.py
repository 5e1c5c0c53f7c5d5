"""`mercato variable`: environment variables that every instance of yours gets."""

import sys
from typing import Annotated

from mercato.cli.command import Argument, group
from mercato.cli.errors import Trouble
from mercato.cli.session import Session, print_line, print_table
from mercato.cli.tree import speaks

app = group("mercato")
variable = group(
    "variable", "Environment variables that every instance of yours gets; kept sealed.", below=app
)

Name = Annotated[str, Argument(help="Its name, such as HF_TOKEN.")]


@speaks(variable, "ls")
def list_variables(session: Session) -> None:
    """The names of your variables; values are never shown again.

    Example: mercato variable ls
    """
    from mercato.sdk import lasting_calls

    session.give(
        lasting_calls.variables(),
        lambda found: print_table(
            ("NAME", "VALUE"),
            sorted(found.items()),
            "You have no variables. Set one: mercato variable set NAME VALUE",
        ),
    )


@speaks(variable, "set")
def set_variable(
    session: Session,
    name: Name,
    value: Annotated[str, Argument(help="Its value; - reads it from the standard input.")],
) -> None:
    """Set a variable in every instance that is made from now on.

    For example:

        mercato variable set WANDB_MODE offline

        mercato variable set HF_TOKEN - < token.txt
    """
    from mercato.sdk import lasting_calls

    text = _piped() if value == "-" else value
    there = name.strip().upper() in session.market.variables()
    change = lasting_calls.change_variable if there else lasting_calls.create_variable
    session.give(change(name, text), print_line)


def _piped() -> str:
    try:
        return sys.stdin.buffer.read().decode().rstrip("\n")
    except UnicodeDecodeError:
        raise Trouble("a value is text, in UTF-8; the standard input is not") from None


@speaks(variable, "rm")
def remove(session: Session, name: Name) -> None:
    """Forget a variable; instances that have it keep it.

    Example: mercato variable rm HF_TOKEN
    """
    from mercato.sdk import lasting_calls

    session.give(lasting_calls.delete_variable(name), print_line)
