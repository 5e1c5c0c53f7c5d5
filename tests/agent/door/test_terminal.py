"""A terminal over SSH, as a person has it."""

import pytest

from tests.agent.door.conftest import COPYING, House
from tests.agent.door.visitor import Visitor, soon

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="package")]


async def test_a_person_types_resizes_interrupts_and_leaves(visitor: Visitor) -> None:
    async with visitor.terminal(size=(97, 31)) as terminal:
        await terminal.shows("# ")
        terminal.type("stty size; tty; echo $TERM-$((6*7))\n")
        await terminal.shows(r"31 97\r\n/dev/pts/\d+\r\n\S+-42\r\n")
        terminal.resize((120, 40))
        terminal.type("while [ \"$(stty size)\" != '40 120' ]; do :; done; echo res''ized\n")
        await terminal.shows("resized")
        terminal.type("sleep 100; echo not th''is\n")
        assert (await visitor.ssh(soon("ps -o args | grep -qx 'sleep 100'"))).code == 0
        terminal.type("\x03")
        await terminal.shows(r"\^C[^#]*# ")
        terminal.type("echo on''ward\n")
        await terminal.shows("onward")
        assert "not this" not in terminal.seen
        terminal.type("exit 9\n")
        assert await terminal.end() == 9


async def test_the_end_of_input_ends_the_shell(visitor: Visitor) -> None:
    async with visitor.terminal(size=(80, 24)) as terminal:
        await terminal.shows("# ")
        terminal.type("\x04")
        assert await terminal.end() == 0


async def test_a_program_learns_of_each_new_size(house: House) -> None:
    # The trap only notes it: bash forgets a signal that comes while it runs that signal's trap.
    look = "if [ $new ]; then new=; stty size; fi"
    # And it goes on after an interrupt that comes just as a sleep ends, unless that is trapped.
    traps = "trap 'new=1' WINCH; trap 'exit 130' INT"
    watch = f"{traps}; echo ready; while :; do {look}; sleep 0.05; done"
    visitor = await house.visitor(COPYING)
    async with visitor.terminal(
        f"bash -c '{watch.replace(chr(39), chr(34))}'", size=(80, 24)
    ) as terminal:
        await terminal.shows("ready")
        for size, shown in (((100, 30), "30 100"), ((101, 31), "31 101")):
            terminal.resize(size)
            terminal.type("\n")  # OpenSSH's client may notice only when it next has something to do
            await terminal.shows(shown)
        terminal.type("\x03")
        assert await terminal.end() == 130


async def test_a_login_has_bash_where_there_is_one(house: House) -> None:
    visitor = await house.visitor(COPYING)
    async with visitor.terminal(size=(80, 24)) as terminal:
        await terminal.shows("# ")
        terminal.type("echo $BASH_VERSION; shopt -q login_shell && echo log''in; exit\n")
        await terminal.shows(r"\d+\.\d+")
        await terminal.shows("login")
        assert await terminal.end() == 0


async def test_a_shell_dies_when_its_terminal_goes(visitor: Visitor) -> None:
    async with visitor.terminal("echo $$ on; exec sleep 77", size=(80, 24)) as terminal:
        await terminal.shows("on")
    gone = "! ps -o args | grep -qx 'sleep 77'"
    assert (await visitor.ssh(soon(gone))).code == 0
