"""`mercato completion`: the script that completes commands in a shell."""

from typing import Annotated

from mercato.cli.command import Argument, command, group
from mercato.cli.errors import Trouble
from mercato.cli.session import print_line

app = group("mercato")


@command(app, "completion")
def completion(
    shell: Annotated[str, Argument(help="bash, zsh or fish.")] = "bash",
) -> None:
    """Print the script that completes `mercato` in your shell.

    For example:

        mercato completion bash >> ~/.bashrc

        mercato completion zsh > "${fpath[1]}/_mercato"

        mercato completion fish > ~/.config/fish/completions/mercato.fish
    """
    from click.shell_completion import get_completion_class

    from mercato.cli.tree import tree

    completes = get_completion_class(shell)
    if completes is None:
        raise Trouble(f"no completion for {shell!r}: choose bash, zsh or fish", exit_code=2)
    print_line(completes(tree(), {}, "mercato", "_MERCATO_COMPLETE").source())
