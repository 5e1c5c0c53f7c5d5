"""Webhooks and notifications through the API."""

from pathlib import Path

from mercato.control.flows.house import Rules
from tests.control.api.serving import Served, served
from tests.control.api.test_journey import eventually


def test_a_webhook_is_made_changed_tested_and_deleted(database_url: str, tmp_path: Path) -> None:
    with served(database_url, tmp_path, rules=Rules(webhooks_anywhere=True)) as server:
        body = {"name": "mine", "url": "http://127.0.0.1:9/", "kinds": ["credit_low"]}
        made = server.call("POST", "/api/v0/webhooks/", "renter", body).json()["webhook"]
        path = f"/api/v0/webhooks/{made['id']}"
        [shown] = server.call("GET", "/api/v0/webhooks/", "renter").json()["webhooks"]
        assert shown == made | {"secret": None}
        rotated = server.call("POST", f"{path}/rotate/", "renter", {}).json()["webhook"]
        assert rotated["secret"] not in {None, made["secret"]}
        changed = server.call("PUT", f"{path}/", "renter", {"kinds": []}).json()["webhook"]
        assert (changed["kinds"], changed["name"]) == ([], "mine")
        assert server.call("POST", f"{path}/test/", "renter", {}).status_code == 200
        assert server.call("POST", f"{path}/test/", "other", {}).status_code == 404

        def told() -> list[dict[str, object]]:
            found = server.call("GET", f"{path}/notices/", "renter").json()["notices"]
            return [one for one in found if one["problem"]]

        [notice] = eventually(told)
        assert (notice["kind"], notice["status"], notice["next_at"]) == ("test", None, None)
        assert server.call("DELETE", f"{path}/", "renter", {}).status_code == 200
        assert server.call("GET", "/api/v0/webhooks/", "renter").json()["webhooks"] == []


def test_an_address_of_ones_own_network_is_refused(server: Served) -> None:
    for url in ("http://example.com/", "nonsense"):
        answer = server.call("POST", "/api/v0/webhooks/", "renter", {"url": url})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_args")


def test_notifications_are_ones_own_and_come_in_pages(server: Served) -> None:
    for cause in ("a", "b", "c"):
        credit = {"amount": 1, "cause": cause}
        server.call("POST", "/api/v0/admin/accounts/3/credit/", "operator", credit)
    page = server.call("GET", "/api/v0/notifications/?limit=2", "renter").json()["notifications"]
    assert [one["notif_type"] for one in page] == ["payment_receipt"] * 2
    path = f"/api/v0/notifications/?before={page[-1]['id']}"
    assert len(server.call("GET", path, "renter").json()["notifications"]) == 2
    assert server.call("GET", "/api/v0/notifications/", "other").json()["notifications"] == []
