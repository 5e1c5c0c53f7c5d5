"""What a rental runs, as options of the commands that rent."""

from typing import Annotated

from mercato.cli.command import Option

Image = Annotated[str | None, Option("--image", "-i", help="A Docker image.")]
Template = Annotated[
    str | None, Option("--template", help="A template's hash, instead of an image.")
]
Disk = Annotated[float, Option("--disk", "-d", help="Gigabytes of disk.")]
Env = Annotated[str | None, Option("--env", "-e", help="Docker style: '-e A=1 -p 8080:8080'")]
Onstart = Annotated[str | None, Option("--onstart", help="A shell command to run on every start.")]
Label = Annotated[str | None, Option("--label", "-l", help="A name of your own.")]
