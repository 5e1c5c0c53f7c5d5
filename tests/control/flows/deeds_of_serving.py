"""The verbs of templates, endpoints, their groups and their workers, for deeds.py's table."""

from typing import Final

from msgspec.structs import replace

from mercato.control.flows import owning, renting, serving, templating
from mercato.control.flows.serving import Recruit
from mercato.control.store.endpoints import StoredEndpoint
from mercato.control.store.worker_groups import StoredGroup
from mercato.market.ids import ContractId, TemplateId
from mercato.market.launch import Launch
from mercato.serverless.endpoint import Endpoint, EndpointId
from tests.control.flows.deeds import ANEW, NOTHING, NOW, REFUSED, Deed, Table
from tests.control.flows.wishes import group_wish
from tests.control.market import T0, Agent, Market, request

CASES: Final = Table()
of = CASES.of


def _endpoint(market: Market) -> StoredEndpoint:
    return market.db.run_now(
        serving.create_endpoint, market.renter, "mine", Endpoint(), "key", T0, market.house
    )


def _wish(market: Market, endpoint: EndpointId, template: TemplateId) -> StoredGroup:
    """A group that is asked for."""
    return group_wish(market.renter, endpoint, template, search_params="gpu_name=RTX_4090")


def _template(market: Market) -> TemplateId:
    return TemplateId(market.db.run_now(templating.create, market.renter, _TEMPLATE, T0).id)


_TEMPLATE: Final = {"name": "mine", "private": True, "image": "debian"}


def _group(market: Market) -> StoredGroup:
    wish = _wish(market, _endpoint(market).id, _template(market))
    return market.db.run_now(serving.create_group, wish)


def _recruit(market: Market, agent: Agent, group: StoredGroup, node: int = 2) -> Recruit:
    return Recruit(
        group=group.id,
        offer=market.offer(agent, node),
        request=request(),
        token="worker token",
        reason="two requests wait",
    )


def _worker(market: Market) -> tuple[Agent, StoredGroup, ContractId]:
    """A group with one worker, which runs."""
    agent, group = market.machine(4), _group(market)
    wanted = _recruit(market, agent, group)
    signed = market.db.run_now(serving.recruit, wanted, market.mint(), T0, market.house)
    agent.settle(T0)
    agent.report(T0 + 5_000)
    return agent, group, signed.contract.id


# --- Templates ------------------------------------------------------------------------------------


@of(templating.create, NOTHING)
def create_template(market: Market) -> Deed:
    return lambda tx: templating.create(tx, market.renter, _TEMPLATE, NOW)


@of(templating.change, NOTHING)
def change_template(market: Market) -> Deed:
    found = _template(market)
    body = _TEMPLATE | {"private": False, "image": "alpine"}
    return lambda tx: templating.change(
        tx, market.renter, templating.find(tx, market.renter, found, None), body, NOW
    )


@of(templating.delete, REFUSED)
def delete_template(market: Market) -> Deed:
    found = _template(market)
    return lambda tx: templating.delete(tx, market.renter, found, None, NOW)


# --- Endpoints and groups -------------------------------------------------------------------------


@of(serving.create_endpoint, REFUSED)
def create_endpoint(market: Market) -> Deed:
    return lambda tx: serving.create_endpoint(
        tx, market.renter, "mine", Endpoint(), "key", NOW, market.house
    )


@of(serving.change_endpoint, NOTHING)
def change_endpoint(market: Market) -> Deed:
    made, after = _endpoint(market), Endpoint(workers_max=3, workers_min=1)
    return lambda tx: serving.change_endpoint(tx, market.renter, made.id, "other", after, NOW)


@of(serving.delete_endpoint, REFUSED)
def delete_endpoint(market: Market) -> Deed:
    _, group, _ = _worker(market)
    return lambda tx: serving.delete_endpoint(tx, market.renter, group.endpoint_id, NOW)


@of(serving.create_group, ANEW)
def create_group(market: Market) -> Deed:
    wish = _wish(market, _endpoint(market).id, _template(market))
    return lambda tx: serving.create_group(tx, wish)


@of(serving.change_group, NOTHING)
def change_group(market: Market) -> Deed:
    after = replace(_group(market), launch_args="--verbose")
    return lambda tx: serving.change_group(tx, after, NOW)


@of(serving.delete_group, REFUSED)
def delete_group(market: Market) -> Deed:
    _, group, _ = _worker(market)
    return lambda tx: serving.delete_group(tx, market.renter, group.id, NOW)


@of(serving.renew_group, ANEW)
def renew_group(market: Market) -> Deed:
    _, group, _ = _worker(market)
    return lambda tx: serving.renew_group(tx, market.renter, group.id, NOW)


@of(serving.cancel_renewal, NOTHING)
def cancel_renewal(market: Market) -> Deed:
    _, group, _ = _worker(market)
    market.db.run_now(serving.renew_group, market.renter, group.id, T0 + 6_000)
    return lambda tx: serving.cancel_renewal(tx, market.renter, group.id, NOW)


# --- Workers --------------------------------------------------------------------------------------


@of(serving.recruit, REFUSED)
def recruit(market: Market) -> Deed:
    wanted, minted = _recruit(market, market.machine(4), _group(market)), market.mint()
    return lambda tx: serving.recruit(tx, wanted, minted, NOW, market.house)


@of(serving.wake, NOTHING)
def wake(market: Market) -> Deed:
    agent, _, worker = _worker(market)
    market.db.run_now(renting.stop, market.renter, worker, T0 + 6_000)
    agent.settle(T0 + 7_000)
    return lambda tx: serving.wake(tx, worker, NOW, market.house)


@of(serving.put_to_sleep, NOTHING)
def put_to_sleep(market: Market) -> Deed:
    _, _, worker = _worker(market)
    return lambda tx: serving.put_to_sleep(tx, worker, NOW)


@of(serving.reboot, ANEW)
def reboot_worker(market: Market) -> Deed:
    _, _, worker = _worker(market)
    return lambda tx: serving.reboot(tx, worker, NOW, market.house)


@of(serving.renew, ANEW)
def renew(market: Market) -> Deed:
    _, group, worker = _worker(market)
    market.db.run_now(serving.renew_group, market.renter, group.id, T0 + 6_000)
    launch = Launch(image="alpine")
    return lambda tx: serving.renew(tx, worker, launch, "other token", NOW, market.house)


@of(serving.release, REFUSED)
def release(market: Market) -> Deed:
    _, _, worker = _worker(market)
    return lambda tx: serving.release(tx, worker, NOW)


@of(owning.stand, NOTHING)
def stand(market: Market) -> Deed:
    _endpoint(market)
    return lambda tx: owning.stand(tx, "engine-1", "http://127.0.0.1:1", NOW)
