"""What an instance may not do on its host, each tried from inside a real container."""

import asyncio
import ipaddress

import pytest

from mercato.agent import isolation
from mercato.agent.facts.net import routable_address
from mercato.wire.agent import Port
from tests.agent.builders import desired, wanted
from tests.agent.real import inside, living_host, until_running

docker = pytest.mark.docker

HOSTILE = {
    "mount a file system": ("mount -t tmpfs none /mnt || mount -t tmpfs none /tmp", False),
    "mount the host's disk": ("mkdir -p /m; mount /dev/vda /m || mount /dev/sda /m", False),
    "make a device": ("mknod /tmp/disk b 254 0 || mknod /tmp/mem c 1 1", False),
    "read a host's disk device": ("ls /dev/vda || ls /dev/sda || ls /dev/nvme0n1", False),
    "find the engine's socket": ("ls /var/run/docker.sock || ls /run/docker.sock", False),
    "change the kernel's settings": ("echo 1 > /proc/sys/kernel/panic", False),
    "trigger the kernel": ("echo b > /proc/sysrq-trigger", False),
    "change the network": ("ip link set eth0 down", False),
    "add a network interface": ("ip link add dummy0 type dummy", False),
    "open a raw socket": ("ping -c 1 -W 1 127.0.0.1", False),
    "see the host's processes": ("test -d /proc/2/ && grep -q kthreadd /proc/2/comm", False),
    "enter the host's namespaces": (
        "nsenter -t 1 -m true && ls /etc/debian_version",
        False,
    ),
    "set the clock": ("date -s 2001-01-01; test $(date +%Y) = 2001", False),
    "change the host's name": ("hostname evil", False),
    "load a kernel module": ("insmod /tmp/x.ko || modprobe dummy", False),
    "write its cgroup": ("echo 1 > /sys/fs/cgroup/pids/pids.max", False),
    "work as root in its own disk": ("echo x > /root/x && chown 1:1 /root/x && mkdir /new", True),
}


@docker
async def test_hostile_commands_are_refused_and_honest_ones_are_not(box: str) -> None:
    async with living_host() as host:
        host.take(desired(wanted(1, image=box)))
        await until_running(host, 1)
        for attempt, (command, allowed) in HOSTILE.items():
            code, said = await inside(host, 1, command)
            assert (code == 0) is allowed, f"{attempt}: exit {code}: {said}"


@docker
async def test_capabilities_are_few_and_privileges_cannot_grow(box: str) -> None:
    async with living_host() as host:
        host.take(desired(wanted(1, image=box)))
        await until_running(host, 1)
        _, status = await inside(host, 1, "cat /proc/self/status")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert int(fields["CapBnd"], 16).bit_count() == len(isolation.CAPABILITIES)
        assert fields["NoNewPrivs"].strip() == "1"
        assert fields["Seccomp"].strip() == "2"


@docker
async def test_a_fork_bomb_ends_at_its_limit(box: str) -> None:
    async with living_host() as host:
        host.take(desired(wanted(1, image=box, pids_max=32), wanted(2, image=box, gpus=(1,))))
        await until_running(host, 1)
        await until_running(host, 2)
        bomb = "i=0; while [ $i -lt 64 ]; do sleep 5 & i=$((i+1)); done; echo all"
        code, said = await inside(host, 1, bomb)
        assert "all" not in said or code != 0
        assert (await inside(host, 2, "echo well"))[1] == "well\n"


@docker
async def test_memory_ends_at_its_limit(box: str) -> None:
    async with living_host() as host:
        host.take(desired(wanted(1, image=box, ram_mb=32)))
        await until_running(host, 1)
        code, _ = await inside(host, 1, "dd if=/dev/zero of=/dev/null bs=200M count=1")
        assert code != 0


@docker
async def test_neither_the_host_nor_private_ranges_nor_other_instances_are_reached(
    box: str,
) -> None:
    async with living_host() as host:
        serve = "httpd -p 80 -h /etc"
        host.take(
            desired(
                wanted(1, image=box),
                wanted(2, image=box, gpus=(1,), onstart=serve, ports=(Port(container=80),)),
            )
        )
        await until_running(host, 1)
        server = await until_running(host, 2)
        _, addresses = await inside(host, 2, "ip -4 addr show eth0 | grep inet")
        neighbour = addresses.split()[1].split("/")[0]
        _, route = await inside(host, 1, "ip route | grep default")
        gateway = route.split()[2]
        outside = server.ports["80/tcp"]
        for address, port in (
            (neighbour, 80),
            (gateway, 22),
            (gateway, outside),
            (routable_address(), outside),
            ("169.254.169.254", 80),
            ("10.255.255.1", 80),
        ):
            code, _ = await inside(host, 1, f"nc -w 2 {address} {port} < /dev/null")
            assert code != 0, f"{address}:{port} was reached"
        # The host itself still reaches its instances.
        _, writer = await asyncio.open_connection(neighbour, 80)
        writer.close()


def test_what_the_engine_is_told_holds_no_way_out() -> None:
    it = wanted(
        1, image="any", ssh=False, env={"PRIVILEGED": "1"}, args=("--privileged", "-v", "/:/h")
    )
    config = isolation.host_config(it, {"80/tcp": 40_000})
    assert config["Privileged"] is False
    assert config["SecurityOpt"] == ["no-new-privileges:true"]
    assert config["CapDrop"] == ["ALL"]
    assert not {"SYS_ADMIN", "NET_ADMIN", "NET_RAW", "MKNOD", "SYS_PTRACE"} & set(config["CapAdd"])
    assert config["NetworkMode"] == isolation.NETWORK
    assert (config["Binds"], config["Mounts"], config["Devices"]) == ([], [], [])
    assert config["PidsLimit"] > 0
    assert config["Memory"] == config["MemorySwap"] > 0


def test_name_service_is_let_through_and_private_ranges_are_not() -> None:
    servers = isolation.nameservers("nameserver 10.0.0.2\nnameserver 127.0.0.53\nsearch x\n")
    assert servers == ["10.0.0.2"]
    rules = isolation.forward_rules(servers)
    assert rules[1][:2] == ["-d", "10.0.0.2"]
    assert rules[-1] == ["-j", "RETURN"]
    blocked = [ipaddress.ip_network(rule[1]) for rule in rules if "REJECT" in rule]
    for private in ("10.1.2.3", "172.20.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"):
        assert any(ipaddress.ip_address(private) in network for network in blocked)
    assert not any(ipaddress.ip_address("8.8.8.8") in network for network in blocked)
