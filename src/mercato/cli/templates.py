"""`mercato template`: what rentals run, under a name."""

from typing import Annotated

from mercato.cli.command import Argument, Option, group
from mercato.cli.session import Session, print_line, print_table
from mercato.cli.tree import speaks

app = group("mercato")
template = group("template", "What rentals run, under a name.", below=app)


@speaks(template, "ls")
def list_templates(session: Session) -> None:
    """Your templates and the public ones.

    Example: mercato template ls
    """
    from mercato.sdk import calls

    session.give(
        calls.templates(),
        lambda found: print_table(
            ("ID>", "HASH", "NAME", "IMAGE", "USED>"),
            [(each.id, each.hash_id, each.name, each.image, each.count_created) for each in found],
            "There are no templates.",
        ),
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


@speaks(template, "rm")
def remove(
    session: Session, hash_id: Annotated[str, Argument(help="The template's hash.")]
) -> None:
    """Delete a template of yours.

    Example: mercato template rm 5f3b...
    """
    from mercato.sdk import calls

    session.do(calls.delete_template(hash_id), "The template is deleted.")
