"""A secret reaches only whom it is for: through templates, repeated requests and the audit log."""

from pathlib import Path
from typing import Any

from tests.control.api.scripted import ScriptedAgent, join
from tests.control.api.serving import Served, served
from tests.control.api.test_journey import eventually
from tests.control.market import hardware

PASSWORD = "a-password-of-a-registry"
KEYS = "/api/v0/auth/apikeys/"
KEY = {"Idempotency-Key": "deploy"}


def launched(server: Served, agent: ScriptedAgent, who: str, template: str) -> Any:
    """What the agent of a machine is told of the login of an instance that somebody rents there."""
    query = {"machine_id": {"eq": agent.joined.machine}, "rentable": True, "num_gpus": 1}
    offers = server.call("POST", "/api/v0/bundles/", None, query).json()["offers"]
    body = {"template_hash_id": template, "disk": 1}
    made = server.call("PUT", f"/api/v0/asks/{offers[0]['id']}/", who, body).json()
    told = eventually(
        lambda: next((one for one in agent.told if one.id == made["new_contract"]), None)
    )
    return told.login


def test_a_public_template_gives_its_registry_password_to_its_creator_only(
    server: Served,
) -> None:
    body = {
        "name": "mine", "image": "registry.example/app", "docker_login_user": "me",
        "docker_login_pass": PASSWORD, "docker_login_repo": "registry.example", "private": False,
    }  # fmt: skip
    template = server.call("POST", "/api/v0/template/", "renter", body).json()["template"]
    agent = ScriptedAgent(server, joined := join(server, "other"), hardware())
    with agent.working():
        asked = {"machine": joined.machine, "price_gpu": 0.0}
        server.call("PUT", "/api/v0/machines/create_asks/", "other", asked)
        eventually(lambda: server.call("POST", "/api/v0/bundles/", None, {}).json()["offers"])
        assert launched(server, agent, "other", template["hash_id"]) is None
        own = launched(server, agent, "renter", template["hash_id"])
        assert (own.user, own.password) == ("me", PASSWORD)


def test_a_narrower_key_is_not_answered_what_another_was(server: Served) -> None:
    made = {"name": "ci", "permissions": {"api": {"user_write": {}}}}
    narrow = server.call("POST", KEYS, "renter", made).json()["key"]
    first = server.call("POST", KEYS, "renter", {"name": "deploy"}, headers=KEY)
    answer = server.call("POST", KEYS, narrow, {"name": "deploy"}, headers=KEY)
    assert (answer.status_code, answer.json()["error"]) == (422, "idempotency_key_reused")
    assert first.json()["key"] not in answer.text
    again = server.call("POST", KEYS, "renter", {"name": "deploy"}, headers=KEY)
    assert again.json() == first.json()


def test_the_audit_log_keeps_no_launch_arguments(server: Served) -> None:
    body = {"name": "llm", "image": "debian:12"}
    template = server.call("POST", "/api/v0/template/", "renter", body).json()["template"]
    server.call("POST", "/api/v0/endptjobs/", "renter", {"endpoint_name": "chat"})
    group = {
        "endpoint_name": "chat", "template_hash": template["hash_id"],
        "launch_args": "--env '-e HF_TOKEN=hf_verysecret'",
    }  # fmt: skip
    made = server.call("POST", "/api/v0/workergroups/", "renter", group)
    assert made.status_code == 200, made.text
    log = server.call("GET", "/api/v0/audit_logs/", "renter")
    assert "launch_args" in log.text
    assert "hf_verysecret" not in log.text


def test_who_guesses_keys_is_told_to_wait_and_who_has_one_is_not(
    database_url: str, tmp_path: Path
) -> None:
    with served(database_url, tmp_path, calls_per_s=0.001, calls_burst=5) as server:
        for method, path in (("GET", "/api/v0/users/current"), ("POST", "/api/v0/bundles/")):
            guesses = [server.call(method, path, f"guess-{n}").status_code for n in range(8)]
            assert guesses == [401] * 5 + [429] * 3
            right = [server.call(method, path, "renter").status_code for _ in range(5)]
            assert right == [200] * 5
