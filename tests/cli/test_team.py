"""A team in the hands of two people at a shell."""

import json
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import Run
from tests.cli.market import Person, person
from tests.e2e.conftest import Market


@pytest.fixture
def renter(mercato: Run, pretend: Market) -> Person:
    return person(mercato, pretend, "renter")


@pytest.fixture
def ada(renter: Person, pretend: Market) -> Person:
    """Somebody else, with an account and no credit."""
    answer = httpx2.post(
        f"{pretend.url}/api/v0/admin/accounts/",
        json={"email": "ada@example.org", "username": "ada"},
        headers={"Authorization": f"Bearer {pretend.keys['operator']}"},
    )
    return replace(renter, key=answer.json()["account"]["api_key"])


def test_a_team_is_made_filled_and_ended(renter: Person, ada: Person, tmp_path: Path) -> None:
    assert "no team" in ada.says("team")
    made = renter.raw("team", "create", "research", "--credit", "5")
    number = str(made["team_id"])
    ours = replace(renter, key=made["api_key"])
    assert "research" in renter.says("team")
    renter.refuses("team", "roles", "rm", "1", why="mercato team key")
    assert "mercato team key" in renter.says("team", "members")

    permissions = tmp_path / "may.json"
    permissions.write_text(json.dumps({"api": {"instance_read": {}, "user_read": {}}}))
    role = ours.raw("team", "roles", "create", "viewer", str(permissions))
    shown = ours.says("team", "roles")
    assert "all but to end the team" in shown
    assert "instance_read, user_read" in shown
    assert "as viewer" in ours.says("team", "invite", "ada@example.org", "--role", "viewer")
    assert "ada@example.org" in ours.says("team", "invitations")
    assert "viewer" in ada.says("team")
    ada.says("team", "join", number)

    key = ada.says("team", "key", number).split()[-1]
    there = replace(ada, key=key)
    assert there("ps").returncode == 0
    there.refuses("limits", role="Your role in this team lacks")
    assert "research" in ada.says("key", "ls")

    (member,) = [one for one in ours.raw("team", "members") if one["email"] == "ada@example.org"]
    ours.says("limits", "set", "2", "--per", "day", "--member", str(member["id"]))
    assert f"member {member['id']}" in ours.says("limits")
    assert "$0.0000 of $2.0000 per day" in ours.says("team", "members")

    permissions.write_text(json.dumps({"api": {"billing_read": {}}}))
    update = ("team", "roles", "update", str(role["id"]), "--permissions", str(permissions))
    assert "billing_read" in ours.says(*update)
    assert "$2.0000" in there.says("limits")
    ours.says("team", "give", str(member["id"]), "manager")
    assert "is removed" in ours.says("team", "roles", "rm", str(role["id"]))
    assert "renter@localhost" in there.says("team", "members")
    ours.says("team", "rm", str(member["id"]))
    there.refuses("team", "members", why="Invalid user key")
    ada.refuses("team", "leave", number, why="no member")
    ours.refuses("team", "end", see="--yes")
    assert "$5.0000 are yours" in ours.says("team", "end", "--yes")
    assert number not in [str(one["id"]) for one in renter.raw("team")["teams"]]
