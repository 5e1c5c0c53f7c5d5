"""Deployments through the API: who may do what, what is uploaded where, what changes what."""

from pathlib import Path
from typing import Any

import pytest

from mercato.control.blobs.blobs import LINK_S
from mercato.control.blobs.directory import Directory
from mercato.control.flows import deploying
from mercato.control.loops.deployments import deployment_loop
from mercato.control.store import deployments
from tests.control.api.deployments import (
    CODE,
    DEPLOYMENTS,
    deployed,
    group_of,
    put,
    roll_out,
    shown,
    upload,
    wish,
)
from tests.control.api.serving import Served
from tests.control.market import T0


def test_code_is_uploaded_once_and_fetched(server: Served) -> None:
    told = put(server, wish(max_workers=2, cold_workers=1, ttl=30.5))
    assert told["action"] == "created"
    assert told["upload_fields"] == {}
    path = f"/api/v0/deployment/{told['deployment_id']}/download_url/"
    early = server.call("GET", path, "renter")
    assert (early.status_code, "not uploaded yet" in early.json()["msg"]) == (409, True)
    again = put(server, wish(max_workers=2, cold_workers=1, ttl=30.5))
    assert again["action"] == "exists"
    assert again["upload_url"], "whoever failed to upload may try again"
    assert upload(server, told).status_code == 200
    assert upload(server, again).status_code == 200
    once_more = put(server, wish(max_workers=2, cold_workers=1, ttl=30.5))
    assert (once_more["action"], once_more["upload_url"]) == ("exists", None)
    link = server.call("GET", path, "renter").json()["download_url"]
    fetched = server.client.get(link)
    assert (fetched.status_code, fetched.content) == (200, CODE)
    assert server.client.get(link.replace("signature=", "signature=0")).status_code == 403
    row = shown(server, told)
    assert (row["storage"], row["ttl"], row["endpoint_state"]) == (20, 30.5, "active")
    listed = server.call("GET", DEPLOYMENTS, "renter").json()["deployments"]
    assert listed == [row]
    endpoint = server.call("GET", f"/api/v0/endptjobs/{told['endpoint_id']}/", "renter").json()
    assert endpoint["result"]["max_workers"] == 2


def test_an_upload_has_the_announced_size_and_is_a_form(server: Served) -> None:
    told = put(server, wish())
    assert upload(server, told, CODE + b"!").status_code == 400
    assert upload(server, told, CODE * 10_000).status_code == 413
    assert server.client.post(told["upload_url"], content=CODE).status_code == 400
    part = {"other": ("app.tar.gz", CODE, "application/gzip")}
    assert server.client.post(told["upload_url"], files=part).status_code == 400
    forged = told["upload_url"].replace(f"size={len(CODE)}", "size=1000")
    assert server.client.post(forged, files={"file": CODE}).status_code == 403
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    assert server.client.post(told["upload_url"], content=b"y", headers=broken).status_code == 400


def test_other_code_is_rolled_out_once_it_is_there(server: Served) -> None:
    first = deployed(server)
    second = put(server, wish(1))
    assert (second["action"], second["deployment_id"]) == ("soft_update", first["deployment_id"])
    roll_out(server, second)
    assert shown(server, first)["file_hash"] == wish()["file_hash"], "it is not there yet"
    assert put(server, wish(1))["action"] == "soft_update"
    assert upload(server, second).status_code == 200
    told = put(server, wish(1))
    assert (told["action"], told["upload_url"]) == ("soft_update", None), "it was not rolled out"
    roll_out(server, second)
    assert shown(server, first)["file_hash"] == wish(1)["file_hash"]
    assert put(server, wish(1))["action"] == "exists"
    back = put(server, wish())
    assert (back["action"], back["upload_url"]) == ("soft_update", None), "it is kept"
    rows = server.call("GET", f"/api/v0/deployment/{first['deployment_id']}/versions/", "renter")
    assert [row["is_current"] for row in rows.json()["versions"]] == [False, True, False]


def test_the_template_names_what_workers_are_made_of(server: Served) -> None:
    first = deployed(server)
    before = group_of(server, first)
    put(server, wish(image="python:3.10"))
    assert group_of(server, first) == before, "not before it is rolled out"
    roll_out(server, first)
    after = group_of(server, first)
    assert after.template_hash != before.template_hash
    assert after.version == before.version + 1
    put(server, wish(image="python:3.10", search_params="num_gpus=2"))
    roll_out(server, first)
    assert group_of(server, first).template_hash == after.template_hash
    assert group_of(server, first).search_params == "num_gpus=2"
    deployed(server, wish(1, image="python:3.10", search_params="num_gpus=2"))
    roll_out(server, first)
    assert group_of(server, first).template_hash != after.template_hash


def test_only_the_endpoints_numbers_change(server: Served) -> None:
    first = deployed(server, wish(max_workers=3))
    told = put(server, wish(max_workers=4))
    assert (told["action"], told["endpoint_id"]) == ("autoscale_update", first["endpoint_id"])
    told = put(server, wish(min_load=1.0, max_workers=4))
    assert told["action"] == "autoscale_update"
    many = wish(min_load=1.0, max_workers=4, cold_workers=50)
    actions = [put(server, many)["action"] for _ in range(2)]
    assert actions == ["autoscale_update", "exists"], "the most win over the least"
    path = f"/api/v0/endptjobs/{told['endpoint_id']}/"
    row = server.call("GET", path, "renter").json()["result"]
    assert (row["max_workers"], row["min_load"]) == (4, 1.0)


def test_it_stops_starts_and_is_deleted_by_id_and_by_name(server: Served) -> None:
    first, tagged = deployed(server), put(server, wish(tag="two"))
    other = put(server, wish(name="other"))
    path = f"/api/v0/deployment/{first['deployment_id']}"
    assert server.call("POST", f"{path}/stop/", "renter", {}).json()["endpoint_state"] == "stopped"
    assert shown(server, first)["endpoint_state"] == "stopped"
    assert put(server, wish())["action"] == "exists"
    assert shown(server, first)["endpoint_state"] == "stopped"
    assert server.call("POST", f"{path}/start/", "renter", {}).json()["endpoint_state"] == "active"
    assert server.call("DELETE", f"{path}/", "renter").json()["success"]
    assert server.call("GET", f"{path}/", "renter").status_code == 404
    by_name = {"name": "app"}
    assert server.call("DELETE", DEPLOYMENTS, "renter", by_name).json()["count"] == 1
    assert server.call("DELETE", DEPLOYMENTS, "renter", by_name).status_code == 404
    left = server.call("GET", "/api/v0/endptjobs/", "renter").json()["results"]
    assert [row["id"] for row in left] == [other["endpoint_id"]]
    assert tagged["endpoint_id"] != first["endpoint_id"]
    assert put(server, wish())["action"] == "created"


def test_its_workers_serve_no_other_endpoint(server: Served) -> None:
    told, other = put(server, wish()), put(server, wish(name="other"))
    path = f"/api/v0/autojobs/{told['workergroup_id']}/"
    there = {"endpoint_id": other["endpoint_id"]}
    moved = server.call("PUT", path, "renter", there)
    assert (moved.status_code, "ends with endpoint" in moved.json()["msg"]) == (409, True)
    here = {"endpoint_id": told["endpoint_id"], "gpu_ram": 8}
    assert server.call("PUT", path, "renter", here).status_code == 200
    gone = server.call("DELETE", f"/api/v0/deployment/{told['deployment_id']}/", "renter")
    assert gone.status_code == 200
    left = server.call("GET", "/api/v0/autojobs/", "renter").json()["results"]
    assert [row["id"] for row in left] == [other["workergroup_id"]]


def test_one_that_nobody_speaks_of_ends_and_its_code_goes(server: Served, tmp_path: Path) -> None:
    told = deployed(server, wish(ttl=60))
    lasting = put(server, wish(name="lasting"))
    services, root = server.plane.services, tmp_path / "uploads"
    tend = deployment_loop(services.db, services.blobs).activate
    assert len(list(root.iterdir())) == 1
    seen_s = shown(server, told)["last_client_heartbeat"]
    assert tend(int(seen_s * 1_000)) == {"ended": 0, "removed": 0}
    beat = f"/api/v0/deployment/{told['deployment_id']}/heartbeat/"
    assert server.call("POST", beat, "renter").status_code == 200
    assert tend(int(seen_s * 1_000) + 59_000) == {"ended": 0, "removed": 0}
    now_ms = services.clock.now_ms() + 61_000
    assert tend(now_ms) == {"ended": 1, "removed": 0}
    assert tend(now_ms + LINK_S * 1_000 - 1) == {"ended": 0, "removed": 0}
    assert tend(now_ms + LINK_S * 1_000) == {"ended": 0, "removed": 1}
    assert tend(now_ms + LINK_S * 1_000) == {"ended": 0, "removed": 0}
    assert list(root.iterdir()) == []
    left = server.call("GET", DEPLOYMENTS, "renter").json()["deployments"]
    assert [row["id"] for row in left] == [lasting["deployment_id"]]


def test_code_that_comes_after_it_was_given_up_goes_too(server: Served, tmp_path: Path) -> None:
    told = put(server, wish())
    path = f"/api/v0/deployment/{told['deployment_id']}/"
    assert server.call("DELETE", path, "renter").status_code == 200
    services, root = server.plane.services, tmp_path / "uploads"
    tend = deployment_loop(services.db, services.blobs).activate
    assert tend(services.clock.now_ms()) == {"ended": 0, "removed": 0}
    assert upload(server, told).status_code == 200, "its link is good for a while yet"
    assert len(list(root.iterdir())) == 1
    assert tend(services.clock.now_ms() + LINK_S * 1_000) == {"ended": 0, "removed": 1}
    assert list(root.iterdir()) == []


def test_who_could_not_be_heard_while_nobody_listened_has_time_to_return(server: Served) -> None:
    deployed(server, wish(ttl=60))
    deployed(server, wish(name="long", ttl=3_600))
    services = server.plane.services
    tend = deployment_loop(services.db, services.blobs).activate
    back_ms = services.clock.now_ms() + 86_400_000
    assert tend(back_ms)["ended"] == 0
    assert tend(back_ms + 60_000)["ended"] == 0
    assert tend(back_ms + 60_001)["ended"] == 1
    assert tend(back_ms + 300_000)["ended"] == 0
    assert tend(back_ms + 300_001)["ended"] == 1, "an hour is not begun anew by every start"


def test_code_packed_elsewhere_is_uploaded_in_its_own_size(server: Served) -> None:
    cut_off = put(server, wish())
    longer = CODE + b" with other times of its files"
    again = put(server, wish(file_size=len(longer)))
    assert again["action"] == "exists"
    assert upload(server, again, longer).status_code == 200
    rows = server.call("GET", f"/api/v0/deployment/{again['deployment_id']}/versions/", "renter")
    assert [row["file_size"] for row in rows.json()["versions"]] == [len(longer)]
    assert put(server, wish())["upload_url"] is None, "it is there, in whatever size"
    assert upload(server, cut_off).status_code == 409


def test_a_link_replaces_nothing_that_is_there(server: Served) -> None:
    told = put(server, wish())
    assert upload(server, told).status_code == 200
    other = upload(server, told, CODE[::-1])
    assert (other.status_code, "stays" in other.json()["msg"]) == (409, True)
    path = f"/api/v0/deployment/{told['deployment_id']}/download_url/"
    link = server.call("GET", path, "renter").json()["download_url"]
    assert server.client.get(link).content == CODE


def test_going_back_to_what_runs_changes_nothing(server: Served) -> None:
    told = deployed(server)
    unwanted = put(server, wish(1))
    back = put(server, wish())
    assert (back["action"], back["upload_url"]) == ("exists", None)
    assert len(back["evicted_versions"]) == 1, "what was never rolled out is given up"
    assert upload(server, unwanted).status_code == 200
    roll_out(server, told)
    assert shown(server, told)["file_hash"] == wish()["file_hash"]
    assert put(server, wish())["evicted_versions"] == []
    assert put(server, wish(1))["action"] == "soft_update"


def test_what_was_put_while_another_looks_for_its_code_is_not_rolled_out(server: Served) -> None:
    told = deployed(server)
    seen = deployed(server, wish(1))
    db, group = server.plane.db, told["workergroup_id"]
    there = db.run_now(deploying.to_roll_out, group)
    assert there is not None
    put(server, wish(2))  # by somebody else, and its code is not there
    owner = db.run_now(lambda tx: deployments.get(tx, told["deployment_id"]))
    assert owner is not None
    db.run_now(deploying.roll_out, owner.account_id, group, T0, there=there.id)
    assert shown(server, seen)["file_hash"] == wish(1)["file_hash"]
    newest = db.run_now(deploying.to_roll_out, group)
    assert newest is not None
    db.run_now(deploying.roll_out, owner.account_id, group, T0, there=newest.id)
    db.run_now(deploying.roll_out, owner.account_id, group, T0, there=there.id)
    assert shown(server, seen)["file_hash"] == wish(2)["file_hash"], "nor is an earlier one"


def test_whoever_may_not_update_workers_does_not_begin_to_deploy(server: Served) -> None:
    narrow: dict[str, Any] = {"api": {"instance_read": {}, "instance_write": {}, "user_read": {}}}
    for permissions, status in ((narrow, 403), ({"api": {**narrow["api"], "misc": {}}}, 200)):
        body = {"name": "ci", "permissions": permissions}
        key = server.call("POST", "/api/v0/auth/apikeys/", "renter", body).json()["key"]
        answer = server.call("PUT", DEPLOYMENTS, key, wish())
        assert answer.status_code == status, answer.text
        assert ("'misc'" in answer.text) == (status == 403)


def test_who_is_limited_does_not_spend_by_a_deployment_of_anothers(server: Served) -> None:
    told = deployed(server, wish(max_workers=1, cold_workers=0))
    made = server.call("POST", "/api/v0/auth/apikeys/", "renter", {"name": "ci"}).json()
    limit = {"amount": 1, "period": "month", "scope": "key", "scope_id": made["id"]}
    free = server.call("PUT", DEPLOYMENTS, made["key"], wish(max_workers=2))
    assert free.status_code == 200, free.text
    tell = {**limit, "action": "notify"}
    assert server.call("POST", "/api/v0/limits/", "renter", tell).status_code == 200
    assert put(server, wish(max_workers=2), made["key"])["action"] == "exists"
    assert server.call("POST", "/api/v0/limits/", "renter", limit).status_code == 200
    path = f"/api/v0/deployment/{told['deployment_id']}"
    assert put(server, wish(max_workers=2), made["key"])["action"] == "exists"  # to use it is free
    for method, where, body in (
        ("PUT", DEPLOYMENTS, wish(max_workers=500)),
        ("POST", f"{path}/start/", {}),
    ):
        answer = server.call(method, where, made["key"], body)
        assert answer.status_code == 403, answer.text
        assert "do not count towards it" in answer.json()["msg"]
    assert server.call("POST", f"{path}/stop/", made["key"], {}).status_code == 200
    own = put(server, wish(tag="own"), made["key"])
    assert own["action"] == "created"
    assert put(server, wish(tag="own", max_workers=3), made["key"])["action"] == "autoscale_update"


def test_ten_versions_are_kept(server: Served) -> None:
    deployed(server)
    evicted = [put(server, wish(number))["evicted_versions"] for number in range(1, 13)]
    assert [len(one) for one in evicted] == [0] * 10 + [1, 1], "what runs is kept too"


@pytest.mark.parametrize(
    "bad",
    [
        {"file_hash": "short"},
        {"file_size": 0},
        {"file_size": 10**12},
        {"name": "with/slash"},
        {"name": ""},
        {"tag": "t" * 33},
        {"storage": -1},
        {"ttl": 0},
        {"env": "--privileged"},
        {"search_params": "no_such_field=1"},
        {"image": " "},
        {"version_label": "l" * 300},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(server: Served, bad: dict[str, Any]) -> None:
    answer = server.call("PUT", DEPLOYMENTS, "renter", wish(**bad))
    assert answer.status_code == 400, answer.text
    assert server.call("GET", DEPLOYMENTS, "renter").json()["deployments"] == []


def test_nobody_reads_or_changes_anothers(server: Served) -> None:
    told = deployed(server)
    path = f"/api/v0/deployment/{told['deployment_id']}"
    for method, end in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/versions"),
        ("POST", "/start"),
        ("POST", "/stop"),
        ("POST", "/heartbeat"),
        ("GET", "/download_url"),
    ):
        assert server.call(method, f"{path}{end}/", "other").status_code == 404, end
    assert server.call("DELETE", DEPLOYMENTS, "other", {"name": "app"}).status_code == 404
    assert put(server, wish(), "other")["deployment_id"] != told["deployment_id"]


def test_uploads_lie_beside_the_data_key(server: Served, tmp_path: Path) -> None:
    assert isinstance(server.plane.services.blobs, Directory)
    told = deployed(server)
    names = [path.name for path in (tmp_path / "uploads").iterdir()]
    assert names == [shown(server, told)["s3_key"]]
