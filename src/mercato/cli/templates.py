"""`mercato template`: what rentals run, under a name."""

from typing import Annotated

from mercato.cli.command import Argument, Option, group
from mercato.cli.errors import Trouble
from mercato.cli.session import Session, print_json, print_line, print_table
from mercato.cli.text import shown_options
from mercato.cli.tree import speaks

app = group("mercato")
template = group("template", "What rentals run, under a name.", below=app)

Hash = Annotated[str, Argument(metavar="HASH", help="The template's hash.")]


@speaks(template, "ls")
def list_templates(session: Session) -> None:
    """Your templates and the public ones.

    Example: mercato template ls
    """
    from mercato.sdk import calls

    session.give(
        calls.templates(),
        lambda found: print_table(
            ("ID>", "HASH<", "NAME", "IMAGE", "USED>"),
            [(each.id, each.hash_id, each.name, each.image, each.count_created) for each in found],
            "There are no templates.",
        ),
    )


@speaks(template, "show")
def show(session: Session, hash_id: Hash) -> None:
    """Everything about one template; secrets in its environment only with --raw.

    Example: mercato template show 5f3b...
    """
    from mercato.sdk import calls

    found = session.market.fetch(calls.templates({"hash_id": {"eq": hash_id}}))["templates"]
    if not found:
        raise Trouble(f"there is no template {hash_id} that you may see; see: mercato template ls")
    if session.raw:
        print_json(found[0])
        return
    print_table(
        ("FIELD<", "VALUE"),
        [
            (name, shown_options(value) if name == "env" else value)
            for name, value in sorted(found[0].items())
            if value not in (None, "", "{}")
        ],
        "",
    )


@speaks(template, "create")
def create(
    session: Session,
    name: Annotated[str, Argument(help="Its name.")],
    *,
    image: Annotated[str, Option("--image", "-i", help="A Docker image.")],
    env: Annotated[str, Option("--env", "-e", help="Docker style: '-e A=1 -p 8080:8080'")] = "",
    onstart: Annotated[str, Option("--onstart", help="Shell, run on every start.")] = "",
    disk: Annotated[float, Option("--disk", help="Gigabytes that it wants.")] = 10.0,
    public: Annotated[bool, Option("--public", help="Everybody may use it.")] = False,
) -> None:
    """Keep a template.

    Example: mercato template create mine --image debian:12 --env '-p 8080:8080'
    """
    from mercato.sdk import calls

    fields = {
        "name": name,
        "image": image,
        "env": env,
        "onstart": onstart,
        "runtype": "ssh",
        "use_ssh": True,
        "ssh_direct": True,
        "recommended_disk_space": disk,
        "private": not public,
        "extra_filters": {},
    }
    session.give(
        calls.create_template(fields),
        lambda made: print_line(f"Template {made.id}: {made.hash_id}"),
    )


@speaks(template, "edit")
def edit(  # noqa: PLR0913 - a template has these parts, each an option
    session: Session,
    hash_id: Hash,
    *,
    name: Annotated[str | None, Option("--name", help="Another name.")] = None,
    image: Annotated[str | None, Option("--image", "-i", help="Another Docker image.")] = None,
    env: Annotated[str | None, Option("--env", "-e", help="All of it anew, Docker style.")] = None,
    onstart: Annotated[str | None, Option("--onstart", help="Shell, run on every start.")] = None,
    disk: Annotated[float | None, Option("--disk", help="Gigabytes that it wants.")] = None,
    public: Annotated[bool, Option("--public", help="Everybody may use it.")] = False,
    private: Annotated[bool, Option("--private", help="Nobody else may use it.")] = False,
) -> None:
    """Change a template of yours; what is not given stays. It gets another hash.

    Example: mercato template edit 5f3b... --image debian:13
    """
    from mercato.sdk import calls

    if public and private:
        raise Trouble("--public or --private? It cannot be both", exit_code=2)
    given = {
        "name": name,
        "image": image,
        "env": env,
        "onstart": onstart,
        "recommended_disk_space": disk,
        "private": private if public or private else None,
    }
    fields = {name: value for name, value in given.items() if value is not None}
    if not fields:
        raise Trouble("nothing to change; see: mercato template edit --help", exit_code=2)
    session.give(
        calls.change_template(hash_id, fields),
        lambda made: print_line(f"Template {made.id}: {made.hash_id}"),
    )


@speaks(template, "rm")
def remove(session: Session, hash_id: Hash) -> None:
    """Delete a template of yours.

    Example: mercato template rm 5f3b...
    """
    from mercato.sdk import calls

    session.do(calls.delete_template(hash_id), "The template is deleted.")
