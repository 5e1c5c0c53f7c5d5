"""`mercato key` and `mercato ssh-key`: who may ask for you, and what opens your instances."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

from mercato.cli.command import Argument, Option, group
from mercato.cli.errors import Trouble
from mercato.cli.session import Session, print_line, print_table
from mercato.cli.text import moment
from mercato.cli.tree import speaks

ARGUMENTS_MAX: Final = 80

app = group("mercato")
api = group("key", "Your API keys.", below=app)
ssh = group("ssh-key", "The public keys that open your instances.", below=app)


@speaks(api, "ls")
def list_api(session: Session) -> None:
    """Your API keys and those that you have in teams, without their secrets.

    Example: mercato key ls
    """
    from mercato.sdk import calls

    session.give(
        calls.api_keys(),
        lambda keys: print_table(
            ("ID>", "NAME", "TEAM", "PERMISSIONS"),
            [(each.id, each.name, each.team_name, _shown(each.permissions)) for each in keys],
            "You have no API keys.",
        ),
    )


def _shown(permissions: Any) -> str:
    return "all" if permissions is None else json.dumps(permissions)


@speaks(api, "create")
def create_api(
    session: Session,
    name: Annotated[str, Argument(help="What it is for.")],
    permissions: Annotated[
        Path | None,
        Option("--permissions", help='A JSON file such as {"api": {"instance_read": {}}}.'),
    ] = None,
) -> None:
    """Make an API key; its secret is shown this once.

    Example: mercato key create training --permissions readonly.json
    """
    from mercato.sdk import calls

    granted = None if permissions is None else permission_file(permissions)
    session.give(
        calls.create_api_key(name, granted), lambda key: print_line(f"Key {key.id}: {key.key}")
    )


def permission_file(path: Path) -> Any:
    """What a permission file says.

    Raises:
        Trouble: when it cannot be read.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Trouble(f"cannot read {path}: {error}") from error


@speaks(api, "rm")
def remove_api(session: Session, key: Annotated[int, Argument(help="The key's id.")]) -> None:
    """Revoke an API key.

    Example: mercato key rm 3
    """
    from mercato.sdk import calls

    session.do(calls.delete_api_key(key), f"Key {key} is revoked.")


@speaks(api, "log")
def log(session: Session) -> None:
    """What was changed with your keys, from where; the latest first.

    Example: mercato key log
    """
    from mercato.sdk import calls

    session.give(
        calls.audit(),
        lambda deeds: print_table(
            ("WHEN", "KEY>", "FROM", "WHAT", "WITH"),
            [
                (
                    moment(each.created_at),
                    each.api_key_id,
                    each.ip_address,
                    each.api_route,
                    each.args[:ARGUMENTS_MAX],
                )
                for each in deeds
            ],
            "Nothing was changed yet.",
        ),
    )


@speaks(ssh, "ls")
def list_ssh(session: Session) -> None:
    """Your public keys.

    Example: mercato ssh-key ls
    """
    from mercato.sdk import calls

    session.give(
        calls.ssh_keys(),
        lambda keys: print_table(
            ("ID>", "PUBLIC KEY"),
            [(each.id, each.public_key[:100]) for each in keys],
            "You have no SSH keys. Add one with: mercato ssh-key add",
        ),
    )


@speaks(ssh, "add")
def add_ssh(
    session: Session,
    key: Annotated[
        str | None, Argument(help="A public key, or its file. Default: ~/.ssh/id_*.pub")
    ] = None,
) -> None:
    """Let a public key into every instance rented from now on.

    For example:

        mercato ssh-key add

        mercato ssh-key add ~/.ssh/work.pub
    """
    from mercato.sdk import calls

    text = public_key(key)
    session.give(calls.add_ssh_key(text), lambda added: print_line(f"SSH key {added.id} is added."))


@speaks(ssh, "attach")
def attach(
    session: Session,
    instance: Annotated[int, Argument(help="The instance's id.")],
    key: Annotated[
        str | None, Argument(help="A public key, or its file. Default: ~/.ssh/id_*.pub")
    ] = None,
) -> None:
    """Let a public key into one instance that runs already.

    Example: mercato ssh-key attach 7 ~/.ssh/work.pub
    """
    from mercato.sdk import calls

    session.do(calls.attach_key(instance, public_key(key)), f"The key opens instance {instance}.")


def public_key(given: str | None) -> str:
    """The text of a public key: given as text, as a file, or found in ~/.ssh.

    Raises:
        Trouble: when there is none, or it is a private one, which is not for the market.
    """
    text = _key_text(given)
    if "PRIVATE KEY" in text:
        raise Trouble("That is a private key: keep it, and send its .pub file.", exit_code=2)
    return text


def _key_text(given: str | None) -> str:
    if given is not None and "PRIVATE KEY" in given:
        return given
    if given is not None and given.lstrip().startswith(("ssh-", "ecdsa-", "sk-")):
        return given.strip()
    names = ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub")
    places = [Path.home() / ".ssh" / name for name in names] if given is None else [Path(given)]
    for place in places:
        try:
            return place.read_text().strip()
        except FileNotFoundError:
            continue
        except UnicodeDecodeError:
            raise Trouble(f"{place} is no public key: it is not text", exit_code=2) from None
        except OSError as error:
            raise Trouble(f"cannot read {place}: {error.strerror}") from error
    looked = "in ~/.ssh (make one with: ssh-keygen -t ed25519)" if given is None else f"at {given}"
    raise Trouble(f"there is no public key {looked}")


@speaks(ssh, "rm")
def remove_ssh(session: Session, key: Annotated[int, Argument(help="The key's id.")]) -> None:
    """Forget a public key.

    Example: mercato ssh-key rm 3
    """
    from mercato.sdk import calls

    session.do(calls.delete_ssh_key(key), f"SSH key {key} is removed.")
