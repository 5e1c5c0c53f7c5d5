"""The official client's own tests against a live server, told anew: reading, and two cycles."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vastai import VastAI

from tests.e2e.conftest import Market
from tests.e2e.journey import key_pair

pytestmark = [pytest.mark.client, pytest.mark.slow]


@pytest.fixture
def live(pretend: Market) -> VastAI:
    return VastAI(api_key=pretend.keys["renter"], server_url=pretend.url)


def a_user(user: Any) -> bool:
    return {"email", "id"} <= set(user) and "api_key" not in user


def a_list(rows: Any) -> bool:
    return isinstance(rows, list)


def is_there(answer: Any) -> bool:
    return answer is not None


READING: dict[str, tuple[Callable[[VastAI], Any], Callable[[Any], bool]]] = {
    "show_user": (lambda live: live.show_user(), a_user),
    "show_invoices": (
        lambda live: live.show_invoices(),
        lambda answer: {"invoices", "current"} <= set(answer),
    ),
    "show_subaccounts": (lambda live: live.show_subaccounts(), a_list),
    "show_ipaddrs": (lambda live: live.show_ipaddrs(), a_list),
    "show_audit_logs": (lambda live: live.show_audit_logs(), a_list),
    "show_env_vars": (lambda live: live.show_env_vars(), lambda answer: isinstance(answer, dict)),
    "show_scheduled_jobs": (lambda live: live.show_scheduled_jobs(), a_list),
    "tfa_status": (lambda live: live.tfa_status(), lambda answer: "tfa_enabled" in answer),
    "search_offers": (
        lambda live: live.search_offers(limit=3),
        lambda rows: len(rows) == 3 and "gpu_name" in rows[0],
    ),
    "search_templates": (lambda live: live.search_templates(), a_list),
    "show_instances": (lambda live: live.show_instances(), a_list),
    "show_ssh_keys": (lambda live: live.show_ssh_keys(), is_there),
    "show_api_keys": (lambda live: live.show_api_keys(), is_there),
    "show_machines": (lambda live: live.show_machines(), a_list),
    "show_endpoints": (lambda live: live.show_endpoints(), is_there),
    "show_volumes": (lambda live: live.show_volumes(), a_list),
    "show_connections": (lambda live: live.show_connections(), is_there),
}


@pytest.mark.parametrize("method", READING)
def test_reading(live: VastAI, method: str) -> None:
    ask, is_right = READING[method]
    answer = ask(live)
    assert is_right(answer), answer


def test_the_cycle_of_an_ssh_key(live: VastAI, tmp_path: Path) -> None:
    _, public = key_pair(tmp_path, "live")
    made = live.create_ssh_key(ssh_key=public)
    assert made["success"] is True
    number = made["key"]["id"]
    assert number in {row["id"] for row in live.show_ssh_keys()}
    live.delete_ssh_key(id=number)
    assert number not in {row["id"] for row in live.show_ssh_keys()}


def test_the_cycle_of_a_variable(live: VastAI) -> None:
    name = f"VASTTEST_{secrets.token_hex(4).upper()}"
    assert live.create_env_var(name=name, value="one")["success"] is True
    assert name in live.show_env_vars()
    assert live.update_env_var(name=name, value="two")["success"] is True
    live.delete_env_var(name=name)
    assert name not in live.show_env_vars()
