"""`mercato login`: remember a server's address and a key for it."""

import os
from typing import Annotated

import msgspec

from mercato.cli.command import Argument, command, group
from mercato.cli.session import Login, config_path, print_line

app = group("mercato")


@command(app, "login")
def login(
    url: Annotated[str, Argument(help="The server's address: http://127.0.0.1:8400")],
    key: Annotated[str, Argument(help="Your API key.")],
) -> None:
    """Check a key with its server and keep both in a file that only you can read.

    Example: mercato login http://127.0.0.1:8400 KEY
    """
    from mercato.sdk import Mercato

    with Mercato(url, key) as market:
        user = market.user()
    path = config_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(Login(url=url.rstrip("/"), api_key=key)))
    fresh.replace(path)
    print_line(f"You are {user.email or user.username} at {url}. Kept in {path}.")
