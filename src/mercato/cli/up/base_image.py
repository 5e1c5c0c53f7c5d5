"""The small image that the demonstration rents: built once for each engine."""

import asyncio
import sys
from typing import Final

from mercato.cli.errors import Trouble
from mercato.cli.up.docker import Engine
from mercato.cli.up.place import Place
from mercato.cli.up.say import Say

PRETEND: Final = "mercato/base"
"""What is rented where containers are pretended; nothing is pulled."""


async def base_image(engine: Engine | None, place: Place, say: Say) -> str:
    """Make sure that the engine has the base image; its name.

    Raises:
        Trouble: when it cannot be built.
    """
    if engine is None:
        return PRETEND
    log = place.logs / "base-image.log"
    with say.step("base image") as step, log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "mercato.agent.base_image"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said = ""
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                file.write(line)
                said = line.decode(errors="replace").strip() or said
                step.show(said[:100])
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code != 0:
            raise Trouble(f"the base image cannot be built: {said} (all of it: {log})")
        # Its last line is the image's name.
        step.outcome = said
        return said
