"""No ticket but the engine's own, for this worker, once, in time."""

import hashlib
import random
from collections.abc import Callable

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from mercato.pyworker.place import Place
from mercato.pyworker.ticket import BadKey, TicketCheck, Verdict
from mercato.wire.worker import TICKET_TTL_MS, AuthData, issue
from tests.pyworker.surroundings import KEY, TOKEN, WORKER, Engine, ManualClock, pem, signature

URL = "http://203.0.113.7:41234"
OTHER = "http://203.0.113.8:41234"
STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
MINUTE_S = TICKET_TTL_MS / 1_000


def place(**changes: object) -> Place:
    made = Place(
        id=WORKER,
        token=TOKEN,
        engines=("http://127.0.0.1:1",),
        port=3000,
        sessions_port=3001,
        url=URL,
        tls=False,
    )
    return msgspec.structs.replace(made, **changes)


class Pair:
    """A worker's check and the engine it trusts, on one clock."""

    def __init__(self, *, full: bool = True, **changes: object) -> None:
        self.clock = ManualClock()
        self.engine = Engine(clock=self.clock)
        self.check = TicketCheck(place(**changes), self.clock)
        self.check.hear_clock(self.engine.now_ms)
        self.check.trust(pem().decode(), full=full)

    def auth(self, url: str = URL, **given: int) -> AuthData:
        return self.engine.auth(url, **given)


def forge(luck: random.Random, genuine: AuthData, other: AuthData) -> AuthData:
    """Something that looks like a ticket and was not given for this use."""
    choice = luck.randrange(10)
    changed = msgspec.structs.replace(genuine)
    issued, _, seal = genuine.ticket.partition(".")
    if choice == 0:
        changed.cost = genuine.cost * luck.choice((0.0, 0.5, 2.0, -1.0)) + luck.random() + 1
    elif choice == 1:
        changed.reqnum += luck.randrange(1, 2**40)
    elif choice == 2:
        changed.request_idx += luck.randrange(1, 2**40)
    elif choice == 3:
        changed.endpoint += luck.choice(" x/")
    elif choice == 4:
        changed.ticket = f"{int(issued) + luck.randrange(1, 10**9)}.{seal}"
    elif choice == 5:
        place_ = luck.randrange(len(seal))
        digit = luck.choice([c for c in "0123456789abcdef" if c != seal[place_]])
        changed.ticket = f"{issued}.{seal[:place_]}{digit}{seal[place_ + 1 :]}"
    elif choice == 6:
        changed.ticket = luck.choice(("", ".", "...", "1.", seal, "é.é", other.ticket))
    elif choice == 7:
        changed.signature = luck.choice(("", "AAAA", "no base64!", genuine.signature[:-4] + "AAA="))
    elif choice == 8:
        changed.url = OTHER
    else:
        changed.ticket = issue(luck.randbytes(12), changed, WORKER, int(issued))
    return changed


def test_of_a_hundred_thousand_bad_tickets_none_is_accepted() -> None:
    luck = random.Random(4)
    pair = Pair()
    tried = accepted = good = 0
    used = pair.auth()
    assert pair.check.check(used) is Verdict.GOOD
    while tried < 100_000:
        pair.clock.time_s += 0.001
        genuine, spare = pair.auth(), pair.auth()
        redirected = pair.auth(OTHER, worker=WORKER + luck.randrange(1, 1_000))
        stolen = msgspec.structs.replace(redirected, url=URL, signature=genuine.signature)
        bad = [forge(luck, genuine, spare), redirected, stolen, used]
        if luck.random() < 0.02:
            bad.append(msgspec.structs.replace(genuine, signature=signature(URL, STRANGER)))
        if luck.random() < 0.02:
            pair.clock.time_s += MINUTE_S
            bad.append(spare)
        else:
            good += pair.check.check(genuine) is Verdict.GOOD
            bad.append(genuine)  # a replay from now on
            used = luck.choice((used, genuine))
        tried += len(bad)
        accepted += sum(pair.check.check(ticket) is Verdict.GOOD for ticket in bad)
    assert good > 10_000
    assert accepted == 0


@given(st.binary(max_size=64), st.text(max_size=300), st.integers(0, 2**40))
def test_a_seal_is_keyed_and_over_all_that_the_ticket_is_for(
    secret: bytes, url: str, now_ms: int
) -> None:
    auth = AuthData(endpoint="e", url=url, cost=1.5, reqnum=2, request_idx=3, signature="")
    issued, _, seal = issue(secret, auth, WORKER, now_ms).partition(".")
    assert issued == str(now_ms)
    text = f"1:e{len(url)}:{url}1.5.2.3.{WORKER}.{now_ms}".encode()
    assert seal == hashlib.blake2b(text, key=secret, digest_size=16).hexdigest()


def test_a_ticket_is_good_once() -> None:
    pair = Pair()
    ticket = pair.auth()
    assert pair.check.check(ticket) is Verdict.GOOD
    for _ in range(200):
        assert pair.check.check(ticket) in {Verdict.USED, Verdict.LATE}
        pair.clock.time_s += 1.0


def test_a_used_ticket_stays_used_when_the_engines_clock_is_set_back() -> None:
    pair = Pair()
    ticket = pair.auth()
    assert pair.check.check(ticket) is Verdict.GOOD
    for _ in range(100):
        pair.clock.time_s += 0.5
        pair.check.hear_clock(pair.engine.now_ms - 50_000)
        assert pair.check.check(ticket) is not Verdict.GOOD


def test_a_ticket_out_of_date_is_told_apart_from_a_forged_one() -> None:
    pair = Pair()
    ticket = pair.auth()
    pair.clock.time_s += MINUTE_S
    assert pair.check.check(ticket) is Verdict.LATE


def test_a_ticket_from_before_the_workers_start_is_out_of_date() -> None:
    pair = Pair()
    ticket = pair.auth()
    pair.clock.time_s += 1.0
    restarted = TicketCheck(place(), pair.clock)
    restarted.hear_clock(pair.engine.now_ms)
    restarted.trust(pem().decode(), full=True)
    assert restarted.check(ticket) is Verdict.LATE
    assert restarted.check(pair.auth()) is Verdict.GOOD


@pytest.mark.parametrize("skew_s", [-3_600.0, 3_600.0])
def test_14_a_clock_an_hour_off_changes_no_verdict(skew_s: float) -> None:
    pair = Pair()
    crooked = ManualClock(pair.clock.time_s + skew_s)
    check = TicketCheck(place(), crooked)
    check.hear_clock(pair.engine.now_ms)
    check.trust(pem().decode(), full=True)
    ticket, late = pair.auth(), pair.auth()
    assert check.check(ticket) is Verdict.GOOD
    for clock in (pair.clock, crooked):
        clock.time_s += MINUTE_S
    assert check.check(late) is Verdict.LATE


def test_with_an_engine_that_gives_no_tickets_the_signature_over_the_address_is_enough() -> None:
    pair = Pair(full=False)
    plain = pair.auth()
    plain.ticket = ""
    assert pair.check.check(plain) is Verdict.GOOD
    assert pair.check.check(plain) is Verdict.GOOD  # as the official worker: for ever
    assert pair.check.check(pair.auth(OTHER)) is Verdict.FORGED


def test_nothing_is_good_before_the_key_is_known() -> None:
    check = TicketCheck(place(), ManualClock())
    assert not check.ready
    assert check.check(Engine(clock=ManualClock()).auth(URL)) is Verdict.FORGED


@pytest.mark.parametrize(
    "text",
    [
        lambda: "",
        lambda: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        lambda: (
            ec.generate_private_key(ec.SECP256R1())
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            .decode()
        ),
    ],
)
def test_what_is_not_an_rsa_key_is_not_trusted(text: Callable[[], str]) -> None:
    check = TicketCheck(place(), ManualClock())
    with pytest.raises(BadKey):
        check.trust(text(), full=True)
    assert not check.ready


def test_the_key_of_these_tests_is_one_that_the_check_takes() -> None:
    assert KEY.key_size == 2048
