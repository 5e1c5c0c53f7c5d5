"""A team in the hands of people who have the official client: made, filled, used and ended."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.conftest import Market
from tests.e2e.official import Official

pytestmark = [pytest.mark.client, pytest.mark.slow]


def printed(text: str) -> Any:
    """An answer that the client printed as Python has it."""
    return ast.literal_eval(text.strip())


def team(owner: Official, name: str, credit: float = 0) -> Official:
    """A team of somebody's, and the client with their key of it."""
    made = printed(owner.ok(f"create team --team-name {name} --transfer-credit {credit}").out)
    return Official(owner.url, made["api_key"], owner.home / name)


def accept(person: Official, number: int) -> str:
    """Accept an invitation, and a key of the team: the client has no words for these."""
    headers = {"Authorization": f"Bearer {person.key}"}
    asked = f"{person.url}/api/v0"
    joined = httpx2.post(f"{asked}/teams/{number}/join/", json={}, headers=headers)
    assert joined.status_code == 200, joined.text
    body = {"name": "in the team", "team_id": number}
    made = httpx2.post(f"{asked}/auth/apikeys/", json=body, headers=headers)
    key: str = made.json()["key"]
    return key


@pytest.fixture
def people(pretend: Market) -> Iterator[tuple[Official, Official]]:
    """Two who have accounts."""
    with pretend.somebody() as one, pretend.somebody() as other:
        yield one, other


def test_a_teams_life(people: tuple[Official, Official], renter: Official, tmp_path: Path) -> None:
    owner, other = people
    mine, theirs = (one.raw("show user") for one in people)
    renter.ok(f"transfer credit {mine['email']} 5 --skip")
    with team(owner, "ours", 3) as ours:
        account = ours.raw("show user")
        assert (account["username"], account["credit"]) == ("ours", 3.0)
        assert owner.raw("show user")["credit"] == 2.0
        assert [one["roles"] for one in ours.raw("show members")] == [["owner"]]

        file = tmp_path / "role.json"
        file.write_text(json.dumps({"api": {"instance_read": {}, "user_read": {}}}))
        made = printed(ours.ok(f"create team-role --name looks --permissions {file}").out)
        names = [one["name"] for one in ours.raw("show team-roles")]
        assert names == ["owner", "manager", "member", "looks"]
        invited = ours.ok(f"invite member --email {theirs['email']} --role looks").out
        assert f"successfully invited {theirs['email']}" in invited
        assert "429" in ours.run(f"invite member --email {theirs['email']} --role looks").err

        key = accept(other, account["id"])
        assert other.run("show user", key=key).code == 0
        assert json.loads(other.run("--raw show instances", key=key).out) == []
        denied = other.run("create instance 258 --image debian", key=key).err
        assert "403: Your role in this team lacks" in denied
        assert "403" in other.run("show members", key=key).err
        keys = {row["team_name"]: row for row in other.raw("show api-keys")["apikeys"]}
        assert (keys["ours"]["team_id"], keys[None]["team_id"]) == (account["id"], None)

        file.write_text(json.dumps({"api": {"team_read": {}}}))
        changed = ours.raw(f"update team-role {made['id']} --name sees --permissions {file}")
        assert changed["permissions"] == {"api": {"team_read": {}}}
        assert other.run("show members", key=key).code == 0
        assert "403" in other.run("show user", key=key).err
        assert "409" in ours.run("remove team-role sees").err
        assert "409" in ours.run("remove team-role member").err

        removed = printed(ours.ok(f"remove member {theirs['id']}").out)
        assert removed["status"] == "success"
        assert "401: Invalid user key" in other.run("show members", key=key).err
        assert "is removed" in ours.ok("remove team-role sees").out
        assert "404" in ours.run("show team-role sees").err

        assert "403" in ours.run("create team --team-name inner").err
        assert printed(ours.ok("destroy team").out)["credit"] == 3.0
        assert "401: Invalid user key" in ours.run("show user").err
    assert owner.raw("show user")["credit"] == 5.0
