"""The `mercato` program: what a command needs is imported when it runs, so it starts fast."""

import os
import sys

from mercato import __version__
from mercato.cli.table import overview


def main() -> None:
    """Run the program on the process's arguments; exits with its status."""
    arguments = sys.argv[1:]
    try:
        status = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has left; say nothing more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    raise SystemExit(status)


def _run(arguments: list[str]) -> int:
    if arguments in (["--version"], ["-V"]):
        sys.stdout.write(f"mercato {__version__}\n")
        return 0
    if arguments in ([], ["--help"], ["-h"], ["help"]) and "_MERCATO_COMPLETE" not in os.environ:
        sys.stdout.write(overview())
        return 0
    return _command(arguments)


def _command(arguments: list[str]) -> int:
    from mercato.cli.errors import INTERRUPTED, Trouble

    try:
        return _dispatch(arguments)
    except Trouble as trouble:
        return _say(arguments, trouble.message, "trouble", 0, trouble.exit_code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        from mercato.market.errors import Refusal
        from mercato.sdk.errors import Failure

        if isinstance(error, Failure):
            hint = "; give --api-key, or run: mercato login URL KEY" if error.status == 401 else ""
            return _say(arguments, error.message + hint, error.code, error.status, 1)
        if isinstance(error, Refusal):
            return _say(arguments, str(error), error.code, 0, 1)
        raise


def _dispatch(arguments: list[str]) -> int:
    import click

    from mercato.cli.errors import INTERRUPTED
    from mercato.cli.tree import tree

    try:
        status = tree().main(args=arguments, prog_name="mercato", standalone_mode=False)
    except click.ClickException as wrong:
        wrong.show()
        return wrong.exit_code
    except click.Abort:
        sys.stderr.write("\n")
        return INTERRUPTED
    return status if isinstance(status, int) else 0


def _say(arguments: list[str], message: str, code: str, status: int, exit_code: int) -> int:
    """Tell a trouble in one line on stderr: JSON when JSON was asked for."""
    from mercato.cli.text import printable

    if "--raw" in arguments:
        import json

        line = json.dumps({"error": code or "failed", "msg": message, "status": status})
    else:
        line = f"mercato: {printable(' '.join(message.split()))}"
    sys.stderr.write(line + "\n")
    return exit_code
