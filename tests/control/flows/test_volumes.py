"""Volumes: let, billed, mounted, cloned, deleted, with the machine's disk never let twice."""

import pytest

from mercato.control.db import Database
from mercato.control.flows import billing, crediting, hosting, lapsing, renting, volumes
from mercato.control.flows.volumes import VolumeRequest
from mercato.control.store import contracts
from mercato.control.store import volumes as stored
from mercato.market import errors
from mercato.market.contract import Contract
from mercato.market.ids import AccountId, ContractId
from mercato.market.launch import Launch
from mercato.market.money import NanoUsdPerGbMonth, accrued, nano
from tests.control.market import HOUR, MINUTE, T0, Agent, Market, open_market

GB = 1_000
PRICE = NanoUsdPerGbMonth(nano("0.10"))


@pytest.fixture
def market(db: Database) -> Market:
    return open_market(db)


def listed(market: Market, agent: Agent, size_gb: int = 500) -> int:
    """Volumes of a machine on sale; the id of the offer."""
    return market.db.run_now(
        volumes.list_volumes, market.host, agent.machine, size_gb * GB, PRICE, T0
    ).id


def let(
    market: Market,
    offer: int,
    size_gb: int = 100,
    now_ms: int = T0,
    clone_of: ContractId | None = None,
    renter: AccountId | None = None,
) -> Contract:
    request = VolumeRequest(offer=offer, size_mb=size_gb * GB, clone_of=clone_of)
    return market.db.run_now(volumes.create, renter or market.renter, request, now_ms)


def mounting(volume: ContractId, path: str = "/data") -> Launch:
    return Launch(image="debian", volumes=(f"V.{volume}:{path}",))


def test_a_volume_is_made_billed_mounted_and_removed(market: Market) -> None:
    agent = market.machine(4)
    volume = let(market, listed(market, agent))
    told = agent.report(T0 + 1_000)
    assert [(one.id, one.size_mb) for one in told.volumes] == [(volume.id, 100 * GB)]
    instance = market.rent(market.offer(agent, 2), launch=mounting(volume.id)).contract
    told = agent.settle(T0 + 2_000)
    assert [(m.volume, m.path) for m in told.instances[0].mounts] == [(volume.id, "/data")]
    with pytest.raises(errors.Conflict, match=f"instance {instance.id}"):
        market.db.run_now(volumes.delete, market.renter, volume.id, T0 + HOUR)
    market.db.run_now(renting.destroy, market.renter, instance.id, T0 + HOUR)
    market.db.run_now(volumes.delete, market.renter, volume.id, T0 + 2 * HOUR)
    assert agent.settle(T0 + 3 * HOUR).volumes == ()
    kept = market.db.run_now(stored.get, volume.id)
    assert kept is not None
    assert kept.gone_at_ms is not None
    lines = market.db.run_now(billing.lines, market.renter, T0, T0 + 9 * HOUR, T0 + 9 * HOUR)
    paid = sum(line.amount for line in lines if line.contract == volume.id)
    assert paid == accrued(volume.terms.storage, 2 * HOUR)
    market.audit()


def test_a_disk_is_never_let_twice(market: Market) -> None:
    agent = market.machine(2)  # 4,000 GB
    offer = listed(market, agent, 4_000)
    let(market, offer, 3_900)
    with pytest.raises(errors.InvalidRequest, match="100 GB left"):
        let(market, offer, 101)
    with pytest.raises(errors.InvalidRequest, match="disk left"):
        market.rent(market.offer(agent, 1), disk_mb=101 * GB)
    market.rent(market.offer(agent, 1), disk_mb=100 * GB)
    with pytest.raises(errors.InvalidRequest, match="0 GB left"):
        let(market, offer, 1)


def test_an_instance_and_its_new_volume_are_rented_together_or_not_at_all(market: Market) -> None:
    agent = market.machine(2)
    wish = VolumeRequest(offer=listed(market, agent), size_mb=10 * GB, name="models")
    signed = market.rent(market.offer(agent, 1), new_volume=wish, new_volume_path="/models")
    mounts = market.db.run_now(stored.mounts_of, [signed.contract.id])[signed.contract.id]
    assert [mount.path for mount in mounts] == ["/models"]
    before = market.db.run_now(contracts.disk_mb_on, agent.machine)
    with pytest.raises(errors.OfferTaken):
        market.rent(market.offer(agent, 1), new_volume=wish, new_volume_path="/models")
    assert market.db.run_now(contracts.disk_mb_on, agent.machine) == before


def test_a_volume_of_another_renter_or_machine_cannot_be_mounted(market: Market) -> None:
    agent, elsewhere = market.machine(2), market.machine(2)
    volume = let(market, listed(market, agent))
    stranger = market.account("stranger")
    with pytest.raises(errors.NoSuchVolume):
        market.rent(market.offer(agent, 1), renter=stranger, launch=mounting(volume.id))
    with pytest.raises(errors.Conflict, match=f"machine {agent.machine}"):
        market.rent(market.offer(elsewhere, 1), launch=mounting(volume.id))
    with pytest.raises(errors.NoSuchVolume):
        market.db.run_now(volumes.delete, stranger, volume.id, T0)
    two = Launch(image="debian", volumes=(f"V.{volume.id}:/a", f"V.{volume.id}:/a/"))
    with pytest.raises(errors.InvalidRequest, match="one path"):
        market.rent(market.offer(agent, 1), launch=two)


def test_a_clone_is_at_least_as_large_and_on_the_same_machine(market: Market) -> None:
    agent, elsewhere = market.machine(2), market.machine(2)
    offer = listed(market, agent)
    volume = let(market, offer, 50)
    with pytest.raises(errors.InvalidRequest, match="at least"):
        let(market, offer, 49, clone_of=volume.id)
    with pytest.raises(errors.InvalidRequest, match="clone it to an offer there"):
        let(market, listed(market, elsewhere), 50, clone_of=volume.id)
    twin = let(market, offer, 60, clone_of=volume.id)
    told = agent.report(T0 + 1_000)
    assert {one.id: one.clone_of for one in told.volumes} == {volume.id: None, twin.id: volume.id}


def test_nothing_is_billed_while_the_machine_is_silent_and_deleting_then_is_free(
    market: Market,
) -> None:
    agent = market.machine(2)
    volume = let(market, listed(market, agent))
    agent.report(T0 + HOUR)
    market.db.run_now(lapsing.silent, agent.machine, T0 + 2 * HOUR, T0 + 3 * HOUR)
    market.db.run_now(volumes.delete, market.renter, volume.id, T0 + 9 * HOUR)
    paid = nano(100) - market.spendable(T0 + 9 * HOUR)
    assert paid == accrued(volume.terms.storage, HOUR)
    agent.settle(T0 + 10 * HOUR)
    assert market.db.run_now(stored.live_on, agent.machine) == []
    market.audit()


def test_billing_goes_on_when_the_machine_is_back(market: Market) -> None:
    agent = market.machine(2)
    volume = let(market, listed(market, agent))
    agent.report(T0 + HOUR)
    market.db.run_now(lapsing.silent, agent.machine, T0 + 2 * HOUR, T0 + 3 * HOUR)
    agent.report(T0 + 5 * HOUR)
    paid = nano(100) - market.spendable(T0 + 6 * HOUR)
    assert paid == 2 * accrued(volume.terms.storage, HOUR)


def test_a_volume_ends_with_its_machines_listing_and_is_purged_two_days_later(
    market: Market,
) -> None:
    agent = market.machine(2, end_at_ms=T0 + 10 * HOUR)
    volume = let(market, listed(market, agent))
    assert volume.terms.end_at_ms == T0 + 10 * HOUR
    assert market.db.run_now(volumes.expire, volume.id, T0 + 57 * HOUR) == 0
    assert market.db.run_now(volumes.expire, volume.id, T0 + 58 * HOUR) == 1
    assert market.db.run_now(volumes.expire, volume.id, T0 + 58 * HOUR) == 0


def test_volumes_are_off_sale_when_their_machine_is(market: Market) -> None:
    agent = market.machine(2)
    offer = listed(market, agent)
    market.db.run_now(hosting.unlist_machine, market.host, agent.machine, T0 + MINUTE)
    with pytest.raises(errors.NoSuchOffer):
        let(market, offer)
    with pytest.raises(errors.Conflict, match="list it first"):
        listed(market, agent)


def test_who_cannot_pay_gets_no_volume_and_one_that_ran_dry_loses_it_last(market: Market) -> None:
    agent = market.machine(2)
    offer = listed(market, agent)
    with pytest.raises(errors.InsufficientCredit):
        let(market, offer, 100, renter=market.account("poor", "0.01"))
    modest = market.account("modest", "0.50")
    volume = let(market, offer, 100, renter=modest)
    dry_ms = T0 + nano("0.50") * HOUR // volume.terms.storage
    assert market.db.run_now(crediting.run_down, modest, dry_ms - HOUR // 2)["warned"] == 1
    assert market.db.run_now(crediting.run_down, modest, dry_ms - 1)["destroyed"] == 0
    assert market.db.run_now(crediting.run_down, modest, dry_ms + HOUR)["destroyed"] == 1
    market.audit()
