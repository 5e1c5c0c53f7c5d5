"""The official command-line client, forked for each command line that is read from standard input.

Its imports take a second; a fork of a process that has them takes hundredths. What a fork does from
there on is exactly what the installed program `vastai` does: `sys.exit(main())`.
"""

import json
import os
import sys
import tempfile
from typing import IO

from vastai.cli.main import main, parser

# What main() imports before anything else.
from vastai.cli.commands import (  # isort: skip
    auth, benchmarks, billing, deployments, endpoints, instances, keys, machines, metrics, misc,
    offers, price_increase, repl, storage, teams, uninstall, update,
)  # fmt: skip

COMMANDS = (
    auth, benchmarks, billing, deployments, endpoints, instances, keys, machines, metrics, misc,
    offers, price_increase, repl, storage, teams, uninstall, update,
)  # fmt: skip


def said(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def serve() -> None:
    """Answer until the input ends; returns only in a fork, which then is the program."""
    for line in sys.stdin:
        asked = json.loads(line)
        with (
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            given.write(asked["stdin"].encode())
            given.seek(0)
            child = os.fork()
            if child == 0:
                for number, file in enumerate((given, out, err)):
                    os.dup2(file.fileno(), number)
                sys.argv = ["vastai", *asked["words"]]
                return
            _, status = os.waitpid(child, 0)
            code = os.waitstatus_to_exitcode(status)
            print(json.dumps({"code": code, "out": said(out), "err": said(err)}), flush=True)  # noqa: T201 - the answer
    raise SystemExit


if __name__ == "__main__":
    if sys.argv[1:] == ["--names"]:
        names = {one.command_name for one in parser.subparsers_.choices.values()}
        sys.exit("\n".join(sorted(names)))
    serve()
    sys.exit(main())
