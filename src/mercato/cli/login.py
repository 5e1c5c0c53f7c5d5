"""`mercato login`: remember a server's address and a key for it."""

from typing import Annotated

import msgspec

from mercato.cli.command import Argument, command, group
from mercato.cli.errors import Trouble
from mercato.cli.session import Login, client, config_directory, config_path, print_line
from mercato.cli.up.place import write_private

app = group("mercato")


@command(app, "login")
def login(
    url: Annotated[str, Argument(help="The server's address: http://127.0.0.1:8400")],
    key: Annotated[str, Argument(help="Your API key.")],
) -> None:
    """Check a key with its server and keep both in a file that only you can read.

    Example: mercato login http://127.0.0.1:8400 KEY
    """
    with client(url, key) as market:
        user = market.user()
    config_directory()
    path = config_path()
    try:
        write_private(path, msgspec.json.encode(Login(url=url.rstrip("/"), api_key=key)))
    except OSError as error:
        raise Trouble(f"cannot write {path}: {error.strerror}") from error
    print_line(f"You are {user.email or user.username} at {url}. Kept in {path}.")
