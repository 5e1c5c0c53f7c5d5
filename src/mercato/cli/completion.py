"""`mercato completion`: the script that completes commands in a shell."""

from typing import Annotated

import typer

from mercato.cli.errors import Trouble
from mercato.cli.session import print_line

app = typer.Typer()


@app.callback()
def _many() -> None:
    """Keep `completion` a named command."""


@app.command("completion")
def completion(
    shell: Annotated[str, typer.Argument(help="bash, zsh or fish.")] = "bash",
) -> None:
    """Print the script that completes `mercato` in your shell.

    For example:

        mercato completion bash >> ~/.bashrc

        mercato completion zsh > "${fpath[1]}/_mercato"
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    if shell not in {"bash", "zsh", "fish"}:
        raise Trouble(f"no completion for {shell!r}: choose bash, zsh or fish", exit_code=2)
    print_line(
        get_completion_script(prog_name="mercato", complete_var="_MERCATO_COMPLETE", shell=shell)
    )
