"""The verbs of deployments, for deeds.py's table."""

from typing import Any, Final

from msgspec.structs import replace

from mercato.control.flows import deploying, serving
from mercato.control.flows.deploying import Put, Wish
from mercato.control.store.deployments import Surroundings
from mercato.serverless.endpoint import EndpointState
from tests.control.flows.deeds import ANEW, NOTHING, NOW, REFUSED, Deed, Table
from tests.control.market import T0, Market, request

CASES: Final = Table()
of = CASES.of


def wish(**changes: Any) -> Wish:
    """A modest deployment; `changes` are of what it is made of, or of the wish."""
    made_of = Surroundings(
        file_hash="0" * 64,
        image="debian",
        env="-p 3000:3000",
        search_params="num_gpus=1",
        storage_mb=10_000,
        login_hash=b"none",
    )
    inner = {name: changes.pop(name) for name in made_of.__struct_fields__ if name in changes}
    made_of = replace(made_of, **inner)
    template = {
        "name": "mine",
        "image": made_of.image,
        "env": made_of.env,
        "private": True,
        "recommended_disk_space": made_of.storage_mb / 1_000,
    }
    asked = Wish(
        name="mine",
        tag="default",
        label=None,
        made_of=made_of,
        file_size=1_000,
        ttl_ms=5_000,
        scaling={"workers_max": 3, "workers_min": 1},
        template=template,
    )
    return replace(asked, **changes)


def put(market: Market, asked: Wish | None = None, now_ms: int = T0) -> Put:
    """A deployment, put now."""
    asked, key = asked or wish(), f"key {market.minted}"
    market.minted += 1
    return market.db.run_now(deploying.put, market.renter, asked, key, now_ms, market.house)


def _putting(market: Market, asked: Wish) -> Deed:
    renter, house = market.renter, market.house
    return lambda tx: deploying.put(tx, renter, asked, "another key", NOW, house)


def _with_a_worker(market: Market) -> Put:
    """A deployment with one worker, which runs."""
    made, agent = put(market), market.machine(4)
    wanted = serving.Recruit(
        group=made.deployment.group_id,
        offer=market.offer(agent, 2),
        request=request(),
        token="worker token",
        reason="a request waits",
    )
    market.db.run_now(serving.recruit, wanted, market.mint(), T0, market.house)
    agent.settle(T0)
    agent.report(T0 + 5_000)
    return made


@of(deploying.put, NOTHING)
def deploy(market: Market) -> Deed:
    return _putting(market, wish())


@of(deploying.put, NOTHING)
def deploy_other_code(market: Market) -> Deed:
    put(market)
    return _putting(market, wish(file_hash="1" * 64))


@of(deploying.put, NOTHING)
def deploy_in_another_image(market: Market) -> Deed:
    _with_a_worker(market)
    return _putting(market, wish(image="alpine"))


@of(deploying.put, NOTHING)
def deploy_again_what_lost_its_endpoint(market: Market) -> Deed:
    made = put(market)
    market.db.run_now(serving.delete_endpoint, market.renter, made.deployment.endpoint_id, T0)
    return _putting(market, wish())


@of(deploying.roll_out, ANEW)
def roll_out(market: Market) -> Deed:
    made = _with_a_worker(market)
    put(market, wish(image="alpine", file_hash="1" * 64))
    renter, group = market.renter, made.deployment.group_id
    there = market.db.run_now(deploying.to_roll_out, group)
    assert there is not None
    return lambda tx: deploying.roll_out(tx, renter, group, NOW, there=there.id)


@of(deploying.cancel, NOTHING)
def cancel_the_roll_out(market: Market) -> Deed:
    roll_out(market)
    made = put(market, wish(image="alpine", file_hash="1" * 64))
    renter, group, there = market.renter, made.deployment.group_id, made.version.id
    market.db.run_now(deploying.roll_out, renter, group, T0 + 6_000, there=there)
    return lambda tx: deploying.cancel(tx, renter, group, NOW)


@of(deploying.announce, NOTHING)
def announce_another_size(market: Market) -> Deed:
    made = put(market)
    renter, deployment, version = market.renter, made.deployment.id, made.version.id
    return lambda tx: deploying.announce(tx, renter, deployment, version, 2_000)


@of(deploying.beat, NOTHING)
def beat(market: Market) -> Deed:
    made = put(market)
    return lambda tx: deploying.beat(tx, market.renter, made.deployment.id, NOW)


@of(deploying.set_state, NOTHING)
def stop_deployment(market: Market) -> Deed:
    made = _with_a_worker(market)
    state, renter = EndpointState.STOPPED, market.renter
    return lambda tx: deploying.set_state(tx, renter, made.deployment.id, state, NOW)


@of(deploying.delete, REFUSED)
def delete_deployment(market: Market) -> Deed:
    made = _with_a_worker(market)
    return lambda tx: deploying.delete(tx, market.renter, made.deployment.id, NOW)


@of(deploying.delete_named, REFUSED)
def delete_deployments_of_a_name(market: Market) -> Deed:
    _with_a_worker(market)
    put(market, wish(tag="other"))
    return lambda tx: deploying.delete_named(tx, market.renter, "mine", None, NOW)


@of(deploying.expire, NOTHING)
def expire_deployment(market: Market) -> Deed:
    made = _with_a_worker(market)
    return lambda tx: deploying.expire(tx, made.deployment.id, NOW, T0)
