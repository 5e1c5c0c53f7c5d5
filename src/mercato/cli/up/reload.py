"""For development: the parts are started again when the program's own code changes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import mercato
from mercato.cli.up.children import Child
from mercato.cli.up.say import Say

LOOK_EVERY_S: Final = 0.5
CODE: Final = Path(mercato.__file__).parent


@asynccontextmanager
async def reloading(children: Sequence[Child], say: Say, code: Path = CODE) -> AsyncIterator[None]:
    """Restart `children`, in their order, whenever the code is another; while this is held."""
    watch = asyncio.create_task(_watch(children, say, code, _state(code)))
    try:
        yield
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch


async def _watch(
    children: Sequence[Child], say: Say, code: Path, before: set[tuple[Path, int]]
) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        now = await asyncio.to_thread(_state, code)
        if now == before:
            continue
        changed = sorted(name for name, _ in now ^ before)
        before = now
        say.line(f"  ..  {changed[0].relative_to(code)} changed: everything is started again")
        for child in children:
            await child.restart()


def _state(code: Path) -> set[tuple[Path, int]]:
    """Every file of the code with when it changed."""
    found = set()
    for path in (*code.rglob("*.py"), *code.rglob("*.sql")):
        with suppress(FileNotFoundError):  # an editor is just replacing it
            found.add((path, path.stat().st_mtime_ns))
    return found
