"""How a machine is cut into offers: the laws of the tree of halves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.market.hardware import Cpu, Disk, Gpu, GpuModel, Hardware
from mercato.market.ids import ListingId, MachineId, OfferId
from mercato.market.listing import Listing, Prices
from mercato.market.money import NanoUsdPerGb, NanoUsdPerGbMonth, NanoUsdPerHour, with_fee
from mercato.market.offer import NODES, Offer, find_offer, offers, parse_offer_id

PRICES = Prices(
    gpu=NanoUsdPerHour(333_333_333),
    disk=NanoUsdPerGbMonth(71_000_001),
    up=NanoUsdPerGb(7),
    down=NanoUsdPerGb(11),
    bid_floor=NanoUsdPerHour(101),
)


def machine(gpus: int) -> Hardware:
    return Hardware(
        gpu_model=GpuModel(name="RTX 4090", ram_mb=24_564),
        gpus=tuple(Gpu(index=index, uuid=f"PRETEND-{index}") for index in range(gpus)),
        cpu=Cpu(name="Pretend", cores=32, ram_mb=128_000),
        disk=Disk(size_gb=1_000.0),
    )


def listing(min_chunk: int = 1, number: int = 7, fee_ppm: int = 0) -> Listing:
    return Listing(
        id=ListingId(number),
        machine=MachineId(3),
        prices=PRICES,
        min_chunk=min_chunk,
        end_at_ms=None,
        credit_discount_max=0.4,
        platform_fee_ppm=fee_ppm,
    )


@st.composite
def cuts(draw: st.DrawFn) -> tuple[int, int]:
    """GPUs of a machine and the smallest slice that its host may ask for."""
    gpus = draw(st.integers(1, 64))
    return gpus, 1 << draw(st.integers(0, gpus.bit_length() - 1))


def sold(gpus: int, chunk: int, held: frozenset[int] = frozenset()) -> list[Offer]:
    return offers(listing(chunk), machine(gpus), held, 1_000_000)


@given(cuts())
def test_a_slice_is_an_aligned_power_of_two_or_the_whole(cut: tuple[int, int]) -> None:
    gpus, chunk = cut
    for one in sold(gpus, chunk):
        size = len(one.gpus)
        assert one.gpus == tuple(range(one.gpus[0], one.gpus[0] + size))
        assert one.gpus[-1] < gpus
        assert size == gpus or (size & (size - 1) == 0 and one.gpus[0] % size == 0)
        assert size >= chunk


@given(cuts())
def test_two_slices_are_apart_or_one_holds_the_other(cut: tuple[int, int]) -> None:
    slices = [frozenset(one.gpus) for one in sold(*cut)]
    assert len(set(slices)) == len(slices)
    for first in slices:
        for second in slices:
            assert not first & second or first <= second or second <= first


@given(cuts())
def test_the_whole_is_on_sale_and_so_is_every_block_that_fits(cut: tuple[int, int]) -> None:
    gpus, chunk = cut
    slices = {one.gpus for one in sold(gpus, chunk)}
    assert tuple(range(gpus)) in slices
    size = chunk
    while size <= gpus:
        blocks = {tuple(range(at, at + size)) for at in range(0, gpus - size + 1, size)}
        assert blocks <= slices
        size *= 2


@given(cuts(), st.data())
def test_an_offer_can_be_had_exactly_while_nobody_holds_a_gpu_of_it(
    cut: tuple[int, int], data: st.DataObject
) -> None:
    gpus, chunk = cut
    held = data.draw(st.frozensets(st.integers(0, gpus - 1)))
    free = sold(gpus, chunk)
    taken = sold(gpus, chunk, held)
    assert [one.id for one in taken] == [one.id for one in free], "ids do not depend on holds"
    assert all(one.rentable for one in free)
    assert all(one.rentable is not bool(held & set(one.gpus)) for one in taken)


@given(cuts(), st.integers(1, 2**40))
def test_an_offer_id_names_its_listing_and_its_slice(cut: tuple[int, int], number: int) -> None:
    gpus, chunk = cut
    asked = listing(chunk, number)
    seen = offers(asked, machine(gpus), frozenset(), 1_000)
    assert len({one.id for one in seen}) == len(seen)
    for one in seen:
        parsed = parse_offer_id(one.id)
        assert parsed is not None
        assert parsed == (asked.id, one.id % NODES)
        assert find_offer(one.id, asked, machine(gpus), frozenset(), 1_000) == one
        other = OfferId(one.id + NODES)
        assert find_offer(other, asked, machine(gpus), frozenset(), 1_000) is None


@given(cuts(), st.integers(0, NODES - 1))
def test_what_is_not_sold_is_not_found(cut: tuple[int, int], node: int) -> None:
    gpus, chunk = cut
    asked = listing(chunk)
    wanted = OfferId(asked.id * NODES + node)
    found = find_offer(wanted, asked, machine(gpus), frozenset(), 1_000)
    assert (found is not None) == (wanted in {one.id for one in sold(gpus, chunk)})


@pytest.mark.parametrize("number", [-1, 0, 1, NODES - 1, NODES, 7 * NODES])
def test_what_names_no_listing_or_no_slice_is_no_offer_id(number: int) -> None:
    assert parse_offer_id(OfferId(number)) is None


@given(st.integers(1, 400))
def test_no_two_slices_share_an_id_however_large_the_machine(gpus: int) -> None:
    seen = [one.id for one in sold(gpus, 1)]
    assert len(set(seen)) == len(seen)
    assert {parse_offer_id(one) for one in seen} >= {(ListingId(7), seen[0] % NODES)}


@given(cuts(), st.integers(0, 10_000_000))
def test_slices_that_are_apart_never_promise_more_disk_than_there_is(
    cut: tuple[int, int], disk_mb: int
) -> None:
    gpus, chunk = cut
    seen = offers(listing(chunk), machine(gpus), frozenset(), disk_mb)
    by_size: dict[int, int] = {}
    for one in seen:
        by_size[len(one.gpus)] = by_size.get(len(one.gpus), 0) + one.disk_free_mb
    assert all(0 <= promised <= disk_mb for promised in by_size.values())
    assert max(one.disk_free_mb for one in seen) == disk_mb


@given(cuts(), st.integers(0, 900_000))
def test_a_slice_costs_its_gpus_at_the_listing_with_the_fee(
    cut: tuple[int, int], fee_ppm: int
) -> None:
    gpus, chunk = cut
    for one in offers(listing(chunk, fee_ppm=fee_ppm), machine(gpus), frozenset(), 1_000):
        assert one.gpu == with_fee(PRICES.gpu * len(one.gpus), fee_ppm)
        assert one.bid_floor == with_fee(PRICES.bid_floor * len(one.gpus), fee_ppm)
        assert (one.disk, one.up, one.down) == (
            with_fee(PRICES.disk, fee_ppm),
            with_fee(PRICES.up, fee_ppm),
            with_fee(PRICES.down, fee_ppm),
        )
