"""Deployments as clients of the API make them."""

from typing import Any

from mercato.control.store import worker_groups
from tests.control.api.serving import Served

CODE = b"not really an archive"
DEPLOYMENTS = "/api/v0/deployments/"


def wish(number: int = 0, **changes: Any) -> dict[str, Any]:
    """What the official client sends."""
    return {
        "name": "app",
        "image": "python:3.11",
        "file_hash": f"{number:064x}",
        "file_size": len(CODE),
        "env": "-p 3000:3000/tcp -e REPORT_ADDR=http://127.0.0.1",
        "tag": "default",
        "search_params": "verified=true rentable=true rented=false gpu_name in RTX_4090,H100",
        "storage": 20,
        **changes,
    }


def put(server: Served, asked: dict[str, Any], key: str = "renter") -> dict[str, Any]:
    """The answer to a wish that is granted."""
    answer = server.call("PUT", DEPLOYMENTS, key, asked)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def upload(server: Served, told: dict[str, Any], code: bytes = CODE) -> Any:
    """Bring code as the answer to a wish says."""
    files = {"file": ("app.tar.gz", code, "application/gzip")}
    return server.client.post(told["upload_url"], data=told["upload_fields"], files=files)


def deployed(server: Served, asked: dict[str, Any] | None = None) -> dict[str, Any]:
    """A wish that is granted, and its code brought."""
    told = put(server, asked or wish())
    assert upload(server, told).status_code == 200
    return told


def roll_out(server: Served, told: dict[str, Any]) -> int:
    """Have the workers made anew; how many will be."""
    body = {"workergroup_id": told["workergroup_id"]}
    answer = server.call("POST", "/update_workers/", "renter", body).json()
    assert answer["success"], answer
    return int(answer["workers_to_update"])


def group_of(server: Served, told: dict[str, Any]) -> worker_groups.StoredGroup:
    """The worker group of a deployment."""
    found = server.plane.db.run_now(worker_groups.get, told["workergroup_id"])
    assert found is not None
    return found


def shown(server: Served, told: dict[str, Any]) -> dict[str, Any]:
    """A deployment as the API shows it."""
    found = server.call("GET", f"/api/v0/deployment/{told['deployment_id']}/", "renter").json()
    row: dict[str, Any] = found["deployment"]
    return row
