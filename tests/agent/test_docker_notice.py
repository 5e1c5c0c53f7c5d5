"""Notices and graceful ends in real containers."""

import time

import msgspec
import pytest

from mercato.agent.notice import PATH
from mercato.market.instance import Actual
from tests.agent.builders import OUTBID, desired, wanted
from tests.agent.real import inside, living_host, until_running
from tests.agent.test_host import runs, until

docker = pytest.mark.docker

SAVES = "trap 'sleep 0.5; echo saved > /root/saved; exit 0' TERM; while :; do sleep 1 & wait; done"
"""A program that writes its work down when it is told to end."""


@docker
async def test_a_notice_is_read_inside_and_taken_back(box: str) -> None:
    async with living_host() as host:
        host.take(desired(wanted(1, image=box)))
        await until_running(host, 1)
        assert (await inside(host, 1, f"test -e {PATH}"))[0] == 1
        host.take(desired(wanted(1, image=box, notice=OUTBID), generation=2))
        code, text = await inside(host, 1, f"until test -s {PATH}; do sleep 0.05; done; cat {PATH}")
        assert code == 0
        assert msgspec.json.decode(text) == {
            "yields_at": OUTBID.yields_at_ms / 1_000,
            "reason": "outbid",
            "message": "Somebody pays more.",
        }
        host.take(desired(wanted(1, image=box), generation=3))
        code, text = await inside(
            host, 1, f"while grep -q at {PATH}; do sleep 0.05; done; cat {PATH}"
        )
        assert (code, msgspec.json.decode(text)) == (0, {})


@docker
async def test_every_program_is_told_to_end_and_has_the_time_that_it_needs(box: str) -> None:
    async with living_host() as host:
        host.take(desired(wanted(1, image=box, onstart=SAVES, notice=OUTBID)))
        await until_running(host, 1)
        await inside(host, 1, f"until test -s {PATH}; do sleep 0.05; done")
        began = time.monotonic()
        host.take(
            desired(wanted(1, image=box, running=False, notice=OUTBID, grace_s=5.0), generation=2)
        )
        await until(host, 1, lambda it: it is not None and it.actual is Actual.STOPPED)
        assert time.monotonic() - began < 4.0
        host.take(desired(wanted(1, image=box), generation=3))
        await until(host, 1, runs)
        assert (await inside(host, 1, "cat /root/saved"))[1] == "saved\n"
        assert (await inside(host, 1, f"cat {PATH}"))[1] == "{}\n"


@docker
async def test_who_does_not_listen_is_killed_when_the_grace_is_over(box: str) -> None:
    async with living_host() as host:
        deaf = "trap '' TERM; while :; do sleep 1; done"
        host.take(desired(wanted(1, image=box, onstart=deaf)))
        await until_running(host, 1)
        began = time.monotonic()
        host.take(desired(wanted(1, image=box, running=False, grace_s=1.0), generation=2))
        await until(host, 1, lambda it: it is not None and it.actual is Actual.STOPPED)
        assert 1.0 <= time.monotonic() - began < 4.0


@docker
async def test_it_comes_back_on_other_gpus_with_its_files(box: str) -> None:
    async with living_host() as host:
        host.take(desired(wanted(1, image=box, gpus=(0,))))
        first = await until_running(host, 1)
        await inside(host, 1, "echo kept > /root/work")
        for generation, gpus in ((2, (1,)), (4, (2,))):
            host.take(desired(wanted(1, image=box, running=False), generation=generation))
            await until(host, 1, lambda it: it is not None and it.actual is Actual.STOPPED)
            host.take(desired(wanted(1, image=box, gpus=gpus), generation=generation + 1))
            again = await until(host, 1, runs)
            assert again is not None
            assert again.ports == first.ports
            assert (await inside(host, 1, "cat /root/work"))[1] == "kept\n"
            other = wanted(2, image=box, gpus=(0,))
            host.take(desired(wanted(1, image=box, gpus=gpus), other, generation=generation + 1))
            await until_running(host, 2)  # the GPUs that it left are free
            host.take(desired(wanted(1, image=box, gpus=gpus), generation=generation + 1))
            await until(host, 2, lambda it: it is None)
