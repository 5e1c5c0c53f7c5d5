"""Which worker gets a request."""

from hypothesis import given
from hypothesis import strategies as st

from mercato.market.ids import ContractId, MachineId
from mercato.market.money import NanoUsdPerHour, nano
from mercato.serverless.endpoint import GroupId
from mercato.serverless.route import Router
from mercato.serverless.worker import State, Worker


def ready(name: int, *, perf: float = 100.0, slots: int = 2, price: float = 0.3) -> Worker:
    return Worker(
        id=ContractId(name),
        group=GroupId(1),
        machine=MachineId(name),
        kind="RTX 4090",
        gpu_price=NanoUsdPerHour(nano(price)),
        on_demand_price=NanoUsdPerHour(nano(price)),
        storage_price=NanoUsdPerHour(0),
        state=State.READY,
        perf=perf,
        slots=slots,
    )


def test_15_a_worker_without_a_sane_performance_gets_nothing() -> None:
    for perf in (0.0, -1.0, float("nan"), float("inf")):
        router = Router(wait_max_s=30)
        router.put(ready(1, perf=perf))
        assert router.pick() is None


def test_packing_fills_the_best_per_price_first_then_the_others_then_waits() -> None:
    router = Router(wait_max_s=1.5)
    good, poor = ready(1, price=0.2), ready(2, price=0.4)
    router.put(poor)
    router.put(good)
    order = []
    for _ in range(6):
        worker = router.pick()
        order.append(worker.id if worker else None)
        if worker:
            router.assign(worker, 400)
    assert order == [1, 1, 2, 2, None, None]


def test_10_a_worker_to_avoid_is_not_picked_while_another_has_room() -> None:
    router = Router(wait_max_s=30)
    router.put(ready(1))
    router.put(ready(2))
    for _ in range(5):
        worker = router.pick(avoid={ContractId(1)})
        assert worker is not None
        assert worker.id == 2
        router.assign(worker, 10)


def test_07_least_work_shares_by_performance() -> None:
    router = Router(wait_max_s=30, pack=False)
    fleet = [ready(n, perf=perf, slots=8) for n, perf in ((1, 100.0), (2, 200.0), (3, 400.0))]
    for worker in fleet:
        router.put(worker)
    given_to = {1: 0, 2: 0, 3: 0}
    for _ in range(700):
        picked = router.pick()
        assert picked is not None
        router.assign(picked, 20)
        given_to[picked.id] += 1
    assert [round(given_to[n] / 100) for n in (1, 2, 3)] == [1, 2, 4]


@given(
    st.lists(
        st.tuples(st.sampled_from(["pick", "finish", "drop", "put", "slower"]), st.integers(0, 4)),
        max_size=120,
    ),
    st.booleans(),
)
def test_41_the_orders_agree_with_a_plain_reading(
    deeds: list[tuple[str, int]],
    pack: bool,  # noqa: FBT001 - drawn by Hypothesis
) -> None:
    router = Router(wait_max_s=1.0, pack=pack)
    fleet = {n: ready(n, perf=100.0 + n, price=0.2 + n / 10) for n in range(5)}
    rotation: set[int] = set()
    given_out: dict[int, int] = dict.fromkeys(fleet, 0)
    for deed, n in deeds:
        worker = fleet[n]
        if deed == "put":
            router.put(worker)
            rotation.add(n)
        elif deed == "drop":
            router.drop(worker.id)
            rotation.discard(n)
        elif deed == "slower":
            worker.perf *= 0.9
            if n in rotation:
                router.put(worker)
        elif deed == "finish" and given_out[n]:
            router.release(worker, 30)
            given_out[n] -= 1
        elif deed == "pick":
            picked = router.pick()
            free = [fleet[w] for w in rotation if fleet[w].requests < fleet[w].slots]
            if pack and free:
                assert picked is min(free, key=lambda w: (w.price / w.perf, w.id))
            elif rotation:
                waits = {w: fleet[w].slot_wait_s if pack else fleet[w].wait_s for w in rotation}
                least = min(waits, key=lambda w: (waits[w], w))
                assert picked is (fleet[least] if waits[least] <= 1.0 else None)
            else:
                assert picked is None
            if picked is not None:
                router.assign(picked, 30)
                given_out[picked.id] += 1
    for n, worker in fleet.items():
        assert worker.requests == given_out[n] >= 0
        assert abs(worker.work - 30 * given_out[n]) < 1e-6
