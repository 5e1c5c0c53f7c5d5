"""Teams through the API: who is in them, how far each key reaches, and from when on."""

from pathlib import Path
from typing import Any, Final

import pytest

from mercato.control.api.auth import authorize
from mercato.control.api.caller import Caller
from mercato.control.api.routes import ROUTES
from mercato.market import errors
from mercato.market.access import GRANTABLE, Permission
from mercato.market.ids import AccountId, ApiKeyId
from mercato.market.team import Kind, rights
from tests.control.api.scripted import ScriptedAgent, join
from tests.control.api.serving import Served, served
from tests.control.api.test_quirks import eventually, offers, ok
from tests.control.market import hardware

READER: Final[dict[str, Any]] = {"api": {"instance_read": {}, "team_read": {}}}
HIRER: Final[dict[str, Any]] = {"api": {"team_read": {}, "team_write": {}, "instance_read": {}}}


def founded(server: Served, credit: float = 10) -> tuple[int, str]:
    """A team of the renter's: its id, and the renter's key in it."""
    made = ok(server, "POST", "/team/", {"team_name": "ours", "transfer_credit": credit})
    return made["team_id"], made["api_key"]


def joined(server: Served, team: int, owner: str, role: str, who: str = "other") -> tuple[int, str]:
    """Somebody in a team: their id, and a key of theirs in it."""
    ok(server, "POST", f"/team/invite/?email={who}@example.com&role={role}", {}, key=owner)
    ok(server, "POST", f"/teams/{team}/join/", {}, key=who)
    made = ok(server, "POST", "/auth/apikeys/", {"name": "mine", "team_id": team}, key=who)
    return ok(server, "GET", "/users/current", key=who)["id"], made["key"]


def status(server: Served, method: str, path: str, key: str, body: Any = None) -> int:
    return server.call(method, f"/api/v0{path}", key, body).status_code


def test_a_team_is_an_account_of_its_own(server: Served) -> None:
    team, owner = founded(server)
    assert ok(server, "GET", "/users/current")["credit"] == 90.0
    there = ok(server, "GET", "/users/current", key=owner)
    assert (there["id"], there["username"], there["credit"]) == (team, "ours", 10.0)
    ok(server, "PUT", "/users/", {"fullname": "All of us"}, key=owner)
    ok(server, "POST", "/secrets/", {"key": "A", "value": "1"}, key=owner)
    assert ok(server, "GET", "/secrets/")["secrets"] == {}
    (mine,) = ok(server, "GET", "/teams/")["teams"]
    assert (mine["id"], mine["team_name"], mine["role"]) == (team, "ours", "owner")
    ok(server, "POST", "/team/", {"team_name": "another"})
    assert ok(server, "GET", "/teams/", key=owner)["teams"] == [mine]
    (me,) = ok(server, "GET", "/team/members/", key=owner)
    assert (me["email"], me["roles"]) == ("renter@example.com", ["owner"])
    rows = ok(server, "GET", "/auth/apikeys/")["apikeys"]
    assert [row["team_name"] for row in rows] == [None, "ours", "another"]
    assert [row["team_id"] for row in rows][:2] == [None, team]


def test_what_a_team_cannot_be(server: Served) -> None:
    _, owner = founded(server)
    again = server.call("POST", "/api/v0/team/", "renter", {"team_name": "ours"})
    assert (again.status_code, again.json()["error"]) == (400, "existing_key")
    assert status(server, "POST", "/team/", owner, {"team_name": "inner"}) == 403
    assert status(server, "POST", "/team/", "renter", {"team_name": "  "}) == 400
    rich = {"team_name": "rich", "transfer_credit": 1_000}
    assert status(server, "POST", "/team/", "renter", rich) == 400
    assert status(server, "POST", "/team/", "renter", {**rich, "transfer_credit": -1}) == 400
    assert len(ok(server, "GET", "/teams/")["teams"]) == 1, "what was refused left nothing"
    taken = {"email": "team-99@teams.invalid"}
    assert status(server, "PUT", "/users/", "other", taken) == 400


def test_a_key_of_ones_own_is_in_no_team(server: Served) -> None:
    founded(server)
    for path in ("/team/members/", "/team/roles-full/", "/team/invite/"):
        assert ok(server, "GET", path) == []
    for method, path, body in (
        ("DELETE", "/team/", {}),
        ("GET", "/team/roles/owner/", None),
        ("POST", "/team/roles/", {"name": "x", "permissions": READER}),
        ("POST", "/team/invite/?email=other@example.com&role=member", {}),
        ("DELETE", "/team/members/1/", {}),
    ):
        answer = server.call(method, f"/api/v0{path}", "renter", body)
        assert answer.status_code == 404
        assert "mercato team key" in answer.json()["msg"]


def caller(kind: Kind) -> Caller:
    return Caller(
        account=AccountId(1), key=ApiKeyId(1), kind="account", is_operator=False, is_host=False,
        permissions=None, member=AccountId(2), role=rights(kind, None),
    )  # fmt: skip


MEMBER_MAY = {"instance_read", "instance_write", "user_read", "anyone", "public"}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_each_role_reaches_its_routes(route: Any) -> None:
    may = {}
    for kind in (Kind.OWNER, Kind.MANAGER, Kind.MEMBER):
        try:
            authorize(route, caller(kind), {})
            may[kind] = True
        except errors.NotPermitted:
            may[kind] = False
    anybody = route.permission is not Permission.OPERATOR
    assert may[Kind.OWNER] == may[Kind.MANAGER] == anybody
    assert may[Kind.MEMBER] == (route.permission.value in MEMBER_MAY)


def test_a_member_rents_and_does_nothing_else(server: Served) -> None:
    team, owner = founded(server)
    _, member = joined(server, team, owner, "member")
    for path in ("/instances/", "/users/current", "/template/", "/volumes/"):
        assert status(server, "GET", path, member) == 200, path
    for method, path, body in (
        ("GET", "/charges/", None),
        ("GET", "/limits/", None),
        ("PUT", "/commands/transfer_credit/", {"recipient": "other@example.com", "amount": 1}),
        ("GET", "/machines/", None),
        ("POST", "/machines/join_tokens/", {}),
        ("GET", "/team/members/", None),
        ("POST", "/team/invite/?email=host@example.com&role=member", {}),
        ("GET", "/endptjobs/", None),
        ("POST", "/auth/apikeys/", {"name": "x"}),
        ("DELETE", "/team/", {}),
    ):
        answer = server.call(method, f"/api/v0{path}", member, body)
        assert answer.status_code == 403, (path, answer.text)
        assert "Your role in this team lacks" in answer.json()["msg"]


def test_keys_die_with_the_membership_and_do_not_come_back(server: Served) -> None:
    team, owner = founded(server)
    number, member = joined(server, team, owner, "manager")
    further = ok(server, "POST", "/auth/apikeys/", {"name": "machine"}, key=member)["key"]
    assert status(server, "GET", "/instances/", further) == 200
    ok(server, "DELETE", f"/team/members/{number}/", {}, key=owner)
    for key in (member, further):
        assert status(server, "GET", "/instances/", key) == 401
    assert status(server, "POST", "/auth/apikeys/", "other", {"team_id": team}) == 404
    server.plane.db.run_now(
        lambda tx: tx.run("update team_invites set invited_at_ms = invited_at_ms - 300000")
    )
    _, again = joined(server, team, owner, "member")
    assert status(server, "GET", "/instances/", again) == 200
    for key in (member, further):
        assert status(server, "GET", "/instances/", key) == 401
    ok(server, "DELETE", f"/teams/{team}/", {}, key="other")
    assert status(server, "GET", "/instances/", again) == 401


def test_a_changed_role_reaches_its_members_keys_at_once(server: Served) -> None:
    team, owner = founded(server)
    made = ok(server, "POST", "/team/roles/", {"name": "see", "permissions": READER}, key=owner)
    _, member = joined(server, team, owner, "see")
    assert status(server, "GET", "/instances/", member) == 200
    assert status(server, "GET", "/charges/", member) == 403
    wider: dict[str, Any] = {"permissions": {"api": {"billing_read": {}}}}
    ok(server, "PUT", f"/team/roles/{made['id']}/", wider, key=owner)
    assert status(server, "GET", "/instances/", member) == 403
    assert status(server, "GET", "/limits/", member) == 200
    number = ok(server, "GET", "/users/current", key="other")["id"]
    ok(server, "PUT", f"/team/members/{number}/", {"role": "member"}, key=owner)
    assert status(server, "GET", "/limits/", member) == 403
    assert status(server, "GET", "/instances/", member) == 200


def test_a_key_reaches_no_further_than_itself_and_the_role(server: Served) -> None:
    team, owner = founded(server)
    joined(server, team, owner, "member")
    given: dict[str, Any] = {"api": {"billing_read": {}, "instance_read": {}}}
    asked = {"name": "x", "team_id": team, "permissions": given}
    key = ok(server, "POST", "/auth/apikeys/", asked, key="other")["key"]
    assert status(server, "GET", "/instances/", key) == 200
    assert status(server, "GET", "/limits/", key) == 403, "the role has it not"
    assert status(server, "GET", "/users/current", key) == 403, "the key has it not"
    only = ok(
        server,
        "POST",
        "/auth/apikeys/",
        {"name": "narrow", "permissions": {"api": {"user_write": {}}}},
        key="other",
    )["key"]
    assert status(server, "POST", "/auth/apikeys/", only, {"team_id": team}) == 403
    credit = {"team_name": "theirs", "transfer_credit": 1}
    assert status(server, "POST", "/team/", only, credit) == 403


def test_nobody_gives_or_takes_more_than_they_have(server: Served) -> None:
    team, owner = founded(server)
    for name, permissions in (("hirer", HIRER), ("reader", READER)):
        ok(server, "POST", "/team/roles/", {"name": name, "permissions": permissions}, key=owner)
    mine, hirer = joined(server, team, owner, "hirer")
    host = ok(server, "GET", "/users/current", key="host")["id"]
    for role in ("manager", "member", "owner"):
        path = f"/team/invite/?email=host@example.com&role={role}"
        assert status(server, "POST", path, hirer, {}) in {403, 409}, role
        assert status(server, "PUT", f"/team/members/{mine}/", hirer, {"role": role}) == 403
    ok(server, "POST", "/team/invite/?email=host@example.com&role=reader", {}, key=hirer)
    ok(server, "POST", f"/teams/{team}/join/", {}, key="host")
    ok(server, "PUT", f"/team/members/{host}/", {"role": "manager"}, key=owner)
    assert status(server, "DELETE", f"/team/members/{host}/", hirer, {}) == 403
    wide = {"name": "wide", "permissions": {"api": {one.value: {} for one in GRANTABLE}}}
    assert status(server, "POST", "/team/roles/", hirer, wide) == 403
    assert status(server, "PUT", "/team/roles/hirer/", hirer, wide) == 403
    assert status(server, "DELETE", "/team/", hirer, {}) == 403


def test_a_lesser_member_takes_only_their_own_keys_out_of_use(server: Served) -> None:
    team, owner = founded(server)
    keeper = {"name": "keeper", "permissions": {"api": {"user_read": {}, "user_write": {}}}}
    ok(server, "POST", "/team/roles/", keeper, key=owner)
    _, lesser = joined(server, team, owner, "keeper")
    keys = ok(server, "GET", "/auth/apikeys/", key=owner)["apikeys"]
    (owners,) = [row["id"] for row in keys if row["name"] != "mine"]
    (own,) = [row["id"] for row in keys if row["name"] == "mine"]
    assert status(server, "DELETE", f"/auth/apikeys/{owners}/", lesser, {}) == 403
    assert status(server, "DELETE", "/auth/apikeys/999999/", lesser, {}) == 404
    ok(server, "DELETE", f"/auth/apikeys/{own}/", {}, key=lesser)
    again = ok(server, "POST", "/auth/apikeys/", {"name": "mine", "team_id": team}, key="other")
    ok(server, "DELETE", f"/auth/apikeys/{again['id']}/", {}, key=owner)
    assert status(server, "GET", "/users/current", again["key"]) == 401
    assert status(server, "GET", "/users/current", owner) == 200


def test_the_roles_of_every_team_stay_as_they_are(server: Served) -> None:
    team, owner = founded(server)
    rows = ok(server, "GET", "/team/roles-full/", key=owner)
    assert [row["name"] for row in rows] == ["owner", "manager", "member"]
    assert set(rows[1]["permissions"]["api"]) == {one.value for one in GRANTABLE}
    for row in rows:
        shown = ok(server, "GET", f"/team/roles/{row['name']}/", key=owner)
        assert shown == row
        other = {"name": "x", "permissions": READER}
        assert status(server, "PUT", f"/team/roles/{row['id']}/", owner, other) == 409
        assert status(server, "DELETE", f"/team/roles/{row['name']}/", owner, {}) == 409
    for name in ("Owner", "12", "a/b", "", "x" * 65):
        body = {"name": name, "permissions": READER}
        assert status(server, "POST", "/team/roles/", owner, body) == 400, name
    wrong = {"name": "x", "permissions": {"api": {"operator": {}}}}
    assert status(server, "POST", "/team/roles/", owner, wrong) == 400
    made = ok(server, "POST", "/team/roles/", {"name": "see all", "permissions": READER}, key=owner)
    assert status(server, "POST", "/team/roles/", owner, {"name": "see all", "permissions": READER}
                  ) == 400  # fmt: skip
    assert ok(server, "GET", "/team/roles/see%20all/", key=owner)["permissions"] == READER
    renamed = ok(server, "PUT", f"/team/roles/{made['id']}/", {"name": "see"}, key=owner)
    assert (renamed["name"], renamed["permissions"]) == ("see", READER)
    joined(server, team, owner, "see")
    assert status(server, "DELETE", "/team/roles/see/", owner, {}) == 409
    number = ok(server, "GET", "/users/current", key="other")["id"]
    ok(server, "PUT", f"/team/members/{number}/", {"role": "member"}, key=owner)
    ok(server, "DELETE", "/team/roles/see/", {}, key=owner)
    assert status(server, "GET", "/team/roles/see/", owner) == 404


def test_an_invitation_is_for_whom_it_names_and_lapses(server: Served) -> None:
    team, owner = founded(server)
    path = "/team/invite/?email=other@example.com&role=member"
    assert "4 hours" in ok(server, "POST", path, {}, key=owner)["msg"]
    assert status(server, "POST", path, owner, {}) == 429
    assert status(server, "POST", f"/teams/{team}/join/", "host", {}) == 404
    (seen,) = ok(server, "GET", "/teams/", key="other")["invitations"]
    assert (seen["id"], seen["role"], seen["until"] - seen["since"]) == (team, "member", 14_400)
    assert [row["email"] for row in ok(server, "GET", "/team/invite/", key=owner)] == [
        "other@example.com"
    ]
    server.plane.db.run_now(
        lambda tx: tx.run("update team_invites set invited_at_ms = invited_at_ms - 14400000")
    )
    assert ok(server, "GET", "/team/invite/", key=owner) == []
    assert ok(server, "GET", "/teams/", key="other")["invitations"] == []
    assert status(server, "POST", f"/teams/{team}/join/", "other", {}) == 404
    ok(server, "POST", path, {}, key=owner)
    ok(server, "POST", f"/teams/{team}/join/", {}, key="other")
    assert status(server, "POST", path, owner, {}) == 400
    for who in ("nobody@example.com", f"team-{team}@teams.invalid"):
        wrong = f"/team/invite/?email={who}&role=member"
        assert status(server, "POST", wrong, owner, {}) == 404


def test_a_team_is_given_away_by_its_owner_alone(server: Served) -> None:
    team, owner = founded(server)
    number, manager = joined(server, team, owner, "manager")
    renter = ok(server, "GET", "/users/current")["id"]
    take = f"/team/members/{number}/"
    assert status(server, "PUT", take, manager, {"role": "owner"}) == 403
    for method, body in (("DELETE", {}), ("PUT", {"role": "member"})):
        assert status(server, method, f"/team/members/{renter}/", manager, body) in {403, 409}
        assert status(server, method, f"/team/members/{renter}/", owner, body) == 409
    assert status(server, "DELETE", f"/teams/{team}/", "renter", {}) == 409
    ok(server, "PUT", take, {"role": "owner"}, key=owner)
    roles = {row["id"]: row["roles"] for row in ok(server, "GET", "/team/members/", key=owner)}
    assert roles == {renter: ["manager"], number: ["owner"]}
    assert status(server, "DELETE", "/team/", owner, {}) == 403
    assert ok(server, "DELETE", "/team/", {}, key=manager)["credit"] == 10.0
    assert ok(server, "GET", "/users/current", key="other")["credit"] == 10.0
    for key in (owner, manager):
        assert status(server, "GET", "/instances/", key) == 401
    assert ok(server, "GET", "/teams/") == {"success": True, "teams": [], "invitations": []}


def test_a_team_that_still_has_something_is_not_ended(server: Served) -> None:
    _, owner = founded(server)
    ok(server, "POST", "/endptjobs/", {"endpoint_name": "llm"}, key=owner)
    answer = server.call("DELETE", "/api/v0/team/", owner, {})
    assert answer.status_code == 409
    assert "1 endpoints" in answer.json()["msg"]
    (one,) = ok(server, "GET", "/endptjobs/", key=owner)["results"]
    ok(server, "DELETE", f"/endptjobs/{one['id']}/", {}, key=owner)
    ok(server, "DELETE", "/team/", {}, key=owner)
    assert ok(server, "GET", "/users/current")["credit"] == 100.0


def test_a_reset_key_stays_its_members(server: Served) -> None:
    team, owner = founded(server)
    number, manager = joined(server, team, owner, "manager")
    reset = ok(server, "PUT", "/commands/reset_apikey/", {"client_id": "me"}, key=manager)
    fresh = reset["new_api_key"]
    assert status(server, "GET", "/instances/", manager) == 401
    assert ok(server, "GET", "/users/current", key=fresh)["id"] == team
    ok(server, "DELETE", f"/team/members/{number}/", {}, key=owner)
    assert status(server, "GET", "/instances/", fresh) == 401


def test_a_members_share_is_kept_whatever_key_they_use(server: Served) -> None:
    team, owner = founded(server, 50)
    number, member = joined(server, team, owner, "member")
    # In total, as a day may be over soon: what then cannot be spent any more need not be covered.
    body = {"amount": 1, "period": "total", "scope": "member", "scope_id": number}
    limit = ok(server, "POST", "/limits/", body, key=owner)["limit"]
    assert status(server, "POST", "/limits/", owner, {**body, "scope_id": 999}) == 404
    (shown,) = [
        row["limits"] for row in ok(server, "GET", "/team/members/", key=owner) if row["limits"]
    ]
    assert [one["id"] for one in shown] == [limit["id"]]
    second = ok(server, "POST", "/auth/apikeys/", {"team_id": team}, key="other")["key"]
    made = hardware()
    machine = join(server, of=made)
    with ScriptedAgent(server, machine, made).working():
        ok(server, "PUT", "/machines/create_asks/",
           {"machine": machine.machine, "price_gpu": 0.6}, key="host")  # fmt: skip
        first, other, *_ = [row["id"] for row in eventually(lambda: offers(server))]
        rental = {"client_id": "me", "image": "debian", "disk": 1}
        ok(server, "PUT", f"/asks/{first}/", rental, key=member)
        refused = server.call("PUT", f"/api/v0/asks/{other}/", second, rental)
        assert refused.json()["error"] == "spending_limit"
        assert f"member {number}" in refused.json()["msg"]
        ok(server, "PUT", f"/asks/{other}/", rental, key=owner)
        assert len(ok(server, "GET", "/instances/", key=member)["instances"]) == 2
        assert "2 instances" in server.call("DELETE", "/api/v0/team/", owner, {}).json()["msg"]


def test_who_is_limited_cannot_lift_it_but_the_owner_can(server: Served) -> None:
    team, owner = founded(server)
    number, manager = joined(server, team, owner, "manager")
    renter = ok(server, "GET", "/users/current")["id"]
    body = {"amount": 5, "period": "day", "scope": "member"}
    theirs, own = (
        ok(server, "POST", "/limits/", {**body, "scope_id": who}, key=owner)["limit"]["id"]
        for who in (number, renter)
    )
    for limit in (theirs, own):
        assert status(server, "PUT", f"/limits/{limit}/", manager, {"amount": 9}) == 403
        assert status(server, "DELETE", f"/limits/{limit}/", manager, {}) == 403
    for limit in (theirs, own):
        ok(server, "DELETE", f"/limits/{limit}/", {}, key=owner)


def test_a_limited_manager_gives_the_teams_credit_to_nobody(server: Served) -> None:
    team, owner = founded(server, 50)
    number, manager = joined(server, team, owner, "manager")
    gift = {"recipient": number, "amount": 5}
    ok(server, "PUT", "/commands/transfer_credit/", gift, key=manager)
    body = {"amount": 5, "period": "day", "scope": "member", "scope_id": number}
    ok(server, "POST", "/limits/", body, key=owner)
    refused = server.call("PUT", "/api/v0/commands/transfer_credit/", manager, gift)
    assert (refused.status_code, refused.json()["error"]) == (403, "not_authorized")
    assert refused.json()["msg"].startswith("You have a spending limit")
    assert ok(server, "GET", "/users/current", key=owner)["credit"] == 45.0


def test_an_engine_believes_a_members_key_no_longer_than_the_market(
    database_url: str, tmp_path: Path
) -> None:
    with served(database_url, tmp_path, engine=True) as server:
        team, owner = founded(server)
        serves = {"name": "serves", "permissions": {"api": {"misc": {}}}}
        role = ok(server, "POST", "/team/roles/", serves, key=owner)["id"]
        number, member = joined(server, team, owner, "serves")

        def engine(key: str) -> int:
            return server.call("GET", "/v1/models", key).status_code

        assert (engine(owner), engine(member)) == (200, 200)
        narrow: dict[str, Any] = {"permissions": {"api": {"user_read": {}}}}
        ok(server, "PUT", f"/team/roles/{role}/", narrow, key=owner)
        assert (engine(owner), engine(member)) == (200, 401)
        ok(server, "PUT", f"/team/roles/{role}/", serves, key=owner)
        assert engine(member) == 200
        ok(server, "DELETE", f"/team/members/{number}/", {}, key=owner)
        assert engine(member) == 401
