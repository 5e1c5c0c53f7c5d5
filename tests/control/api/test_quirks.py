"""Every oddity of the wire that clients rely on, in the order in which they are known.

SHOWN says of each where it is shown: a test here, a test elsewhere, or what makes it nobody's.
"""

import importlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.control.api.scripted import ScriptedAgent, join
from tests.control.api.serving import Served, served
from tests.control.market import hardware

ELSEWHERE = "another part of the market"
ERRORS, ROUTES, REPEATS = (
    f"tests.control.api.test_{one}" for one in ("errors", "routes", "asked_twice")
)
EVERY_COMMAND = "tests.e2e.test_commands:test_a_command_ends_as_the_table_says"

SHOWN = {
    "1 the type of every answer is exactly application/json": "test_the_type_of_answers",
    "2 slashes matter nowhere, nothing redirects": f"{ERRORS}:test_slashes_matter_nowhere",
    "3 bodies on GET and DELETE are read, or may be missing": "test_bodies_of_get_and_delete",
    "4 parameters in unusual places": "test_parameters_in_unusual_places",
    "5 query values are JSON or nearly": "test_query_values",
    "6 every 401 has words": f"{ROUTES}:test_every_route_refuses_whoever_has_no_key",
    "7 the client exits with 0 on errors": EVERY_COMMAND,
    "8 a repeated creation is made once": f"{REPEATS}:test_the_same_creation_at_once_is_made_once",
    "9 names of GPUs come from memory, to everybody": "test_gpu_names_come_from_memory",
    "10 the engine's address follows --url": EVERY_COMMAND,
    "11 a CA for workers": ELSEWHERE,
    "12 lists at the top": "test_lists_at_the_top",
    "13 one instance, or null, under the plural": "test_one_instance_or_null",
    "14 a new instance is called new_contract": "test_a_new_instance",
    "15 an endpoint's id is its result": ELSEWHERE,
    "16 two names of worker groups": ELSEWHERE,
    "17 whole rows have numbers, pairs and ports": "test_whole_rows",
    "18 filters of templates go in as an object and come out as text": "test_filters_of_templates",
    "19 launch tells of failure under message": "test_launch_tells_the_official_cli",
    "20 some answers need words": "test_answers_that_need_words",
    "21 charges have every part": "tests.e2e.test_money:test_charges_have_every_part",
    "22 numbers are numbers or null": EVERY_COMMAND,
    "23 a machine's hostname is text or null": "test_a_hostname",
    "24 no endpoint lacks a part": ELSEWHERE,
    "25 numbers come as text": "test_numbers_as_text",
    "26 any is no filter, external false includes null": "test_any_and_external",
    "27 spaces and dashes of GPU names": "tests.e2e.test_search:test_queries_find_what_they_say",
    "28 runtypes are sets of words, _direc too": "test_runtypes",
    "29 no price is on demand; failures are statuses": "test_no_price_is_on_demand",
    "30 success false is shown": "test_launch_tells_the_official_cli",
    "31 an unknown instance is no_such_instance": f"{ERRORS}:test_a_refusal",
    "32 gone, raced away, unaffordable": "test_gone_raced_away_unaffordable",
    "33 destroying twice is no error": "test_destroying_twice",
    "34 the official CLI gets output at once": "test_output_for_the_official_cli",
    "35 an output is read by whoever has its address": "test_an_output_by_its_address",
    "36 scheduled commands act at once as well": ELSEWHERE,
    "37 an SSH address stays": "tests.e2e.test_journey:test_another_key_is_let_in_and_kept_out",
    "38 port 22 is always mapped": "test_port_22_is_always_mapped",
    "39 pages of 25, whole rows, unknown columns null": "test_columns_of_a_page",
    "40 a label may be null": "test_a_label_may_be_null",
    "41 a price increase is accepted with one argument": ELSEWHERE,
    "42 a session's key": ELSEWHERE,
    "43 no user shows a key": "test_no_user_shows_a_key",
    "44 a route waits": ELSEWHERE,
    "45 a key as text": ELSEWHERE,
    "46 keys in queries stay out of logs": "test_keys_stay_out_of_logs",
    "47 a worker's status in part": ELSEWHERE,
    "48 search_params are always sent": ELSEWHERE,
    "49 the engine's instance is always sent": ELSEWHERE,
    "50 an end of a window is needed": "a defect of the client, which sends nothing",
    "51 the name of a key's file is no key": "tests.e2e.test_account:test_ssh_keys",
    "52 list machine exits with 1": "tests.e2e.test_hosting:test_a_listing_with_every_price",
    "53 clusters only by the SDK": "test_lists_at_the_top",
    "54 where the documentation differs the client is right": "tests.e2e.test_live:test_reading",
}  # fmt: skip


@pytest.mark.parametrize("quirk", SHOWN)
def test_the_list_names_a_test(quirk: str) -> None:
    shown = SHOWN[quirk]
    module, _, name = shown.rpartition(":")
    if module:
        assert hasattr(importlib.import_module(module), name), shown
    elif shown.startswith("test_"):
        assert shown in globals(), shown
    assert [int(one.split()[0]) for one in SHOWN] == list(range(1, 55))


@pytest.fixture(scope="module")
def server(server_of_databases: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a machine of four GPUs on sale."""
    data = tmp_path_factory.mktemp("server")
    with server_of_databases.fresh() as url, served(url, data, calls_per_s=0) as running:
        made = hardware()
        joined = join(running, of=made)
        with ScriptedAgent(running, joined, made).working():
            listing = {"machine": joined.machine, "price_gpu": 0.36, "price_disk": 0.1}
            ok(running, "PUT", "/machines/create_asks/", listing, key="host")
            eventually(lambda: offers(running))
            yield running


def eventually(look: Callable[[], Any]) -> Any:
    """What `look` finds, once it finds something."""
    deadline, pause = time.monotonic() + 60.0, threading.Event()
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        pause.wait(0.02)
    raise AssertionError("it did not happen in time")


def ok(server: Served, method: str, path: str, body: Any = None, key: str = "renter") -> Any:
    answer = server.call(method, f"/api/v0{path}", key, body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def offers(server: Served, **query: Any) -> list[Any]:
    asked = {"rentable": {"eq": True}, "num_gpus": {"eq": 1}, **query}
    found: list[Any] = ok(server, "POST", "/bundles/", asked)["offers"]
    return found


@pytest.fixture
def instance(server: Served) -> Iterator[int]:
    """An instance that runs."""
    offer = eventually(lambda: offers(server))[0]["id"]
    body = {"image": "debian", "disk": 1, "label": "one", "env": {"A": "b", "-p 80:80": "1"}}
    made = ok(server, "PUT", f"/asks/{offer}/", body)["new_contract"]
    eventually(lambda: row_of(server, made)["actual_status"] == "running")
    yield made
    ok(server, "DELETE", f"/instances/{made}/")


def row_of(server: Served, instance: int) -> Any:
    return ok(server, "GET", f"/instances/{instance}/")["instances"]


def test_the_type_of_answers(server: Served) -> None:
    for method, path in (("GET", "/users/current"), ("POST", "/bundles/"), ("GET", "/none")):
        answer = server.call(method, f"/api/v0{path}", "renter", {} if method == "POST" else None)
        assert answer.headers["content-type"] == "application/json"


def test_bodies_of_get_and_delete(server: Served) -> None:
    body = {"client_id": "me", "api_key": server.keys["renter"]}
    assert server.call("GET", "/api/v0/endptjobs/", None, body).json()["success"] is True
    ok(server, "POST", "/secrets/", {"key": "GONE", "value": ""})
    ok(server, "DELETE", "/secrets/", {"key": "GONE"})
    nothing = server.call("DELETE", "/api/v0/instances/999/", "renter")
    assert (nothing.status_code, nothing.json()["error"]) == (404, "no_such_instance")


def test_parameters_in_unusual_places(server: Served) -> None:
    made = ok(server, "POST", "/template/", {"name": "gone", "image": "debian"})["template"]
    ok(server, "DELETE", "/template/", {"hash_id": made["hash_id"]})
    ok(server, "POST", "/secrets/?key=ASKED&value=1", {})
    assert "ASKED" in ok(server, "GET", "/secrets/")["secrets"]
    ok(server, "DELETE", "/secrets/?key=ASKED", {})


def test_query_values(server: Served) -> None:
    query = "owner=me&sday=20089.0&eday=30000.5&machid=null"
    assert ok(server, "GET", f"/users/me/machine-earnings?{query}", key="host")["success"]
    ok(server, "GET", "/users/me/invoices?owner=me&sdate=1.5&edate=2000000000.0&inc_charges=false")
    maints = ok(server, "GET", "/machines/maintenances?owner=me&machine_ids=[1, 2]", key="host")
    assert maints == []


def test_gpu_names_come_from_memory(server: Served) -> None:
    assert ok(server, "GET", "/gpu_names/unique/")["gpu_names"] == ["RTX 4090"]
    kinds = ok(server, "GET", "/gpu_types/")["gpu_types"]
    assert kinds == [{"canonical_name": "RTX 4090", "gpu_ram_mb": 24_564}]
    for path in ("/gpu_names/unique/", "/gpu_types/"):
        assert server.call("GET", f"/api/v0{path}").status_code == 200


def test_lists_at_the_top(server: Served) -> None:
    for path in (
        "/users/cloud_integrations/", "/audit_logs/", "/commands/schedule_job/", "/ssh/",
        "/team/members/", "/team/roles-full/", "/overlay/",
    ):  # fmt: skip
        assert isinstance(ok(server, "GET", path), list), path
    for path in ("/machines/1", "/machines/1/reports/", "/machines/maintenances?machine_ids=[1]"):
        assert isinstance(ok(server, "GET", path, key="host"), list), path
    assert ok(server, "GET", "/clusters/")["clusters"] == {}


def test_one_instance_or_null(server: Served, instance: int) -> None:
    assert row_of(server, instance)["id"] == instance
    assert ok(server, "GET", "/instances/999999/?owner=me")["instances"] is None


def test_a_new_instance(server: Served, instance: int) -> None:
    offer = eventually(lambda: offers(server))[0]["id"]
    body = {"client_id": "me", "image": "debian", "disk": 1, "price": None, "label": "two"}
    made = ok(server, "PUT", f"/asks/{offer}/", body)
    assert made["success"] is True
    assert made["new_contract"] > instance
    assert made["instance_api_key"]
    ok(server, "DELETE", f"/instances/{made['new_contract']}/")


def test_whole_rows(server: Served, instance: int) -> None:
    (listed,) = server.call("GET", "/api/v1/instances/", "renter").json()["instances"]
    for row in (row_of(server, instance), listed):
        assert isinstance(row["start_date"], float)
        assert sorted(row["extra_env"]) == [["-p 80:80", "1"], ["A", "b"]]
        assert row["ports"]["22/tcp"][0]["HostIp"] == "0.0.0.0"
        assert row["ports"]["22/tcp"][0]["HostPort"].isdigit()


def test_filters_of_templates(server: Served) -> None:
    body = {"name": "f", "image": "debian", "extra_filters": {"num_gpus": {"gte": "2"}}}
    made = ok(server, "POST", "/template/", {**body, "recommended_disk_space": "20"})["template"]
    assert made["extra_filters"] == '{"num_gpus":{"gte":"2"}}'
    assert made["recommended_disk_space"] == 20.0
    ok(server, "DELETE", "/template/", {"template_id": made["id"]})


CLI = {"User-Agent": "vastai-cli/1.9.1"}


def test_launch_tells_the_official_cli(server: Served) -> None:
    body = {"q": {"gpu_name": {"eq": "none"}}, "image": "debian", "disk": 1}
    told = server.call("PUT", "/api/v0/launch_instance/", "renter", body, headers=CLI)
    assert (told.status_code, told.json()["success"]) == (200, False)
    assert told.json()["message"] == "no_such_ask: No offer matches the query now."
    assert server.call("PUT", "/api/v0/launch_instance/", "renter", body).status_code == 404
    wrong = server.call("PUT", "/api/v0/launch_instance/", "nobody", body, headers=CLI)
    assert wrong.status_code == 401


def test_answers_that_need_words(server: Served) -> None:
    for method, path, body in (
        ("POST", "/volumes/unlist", {"id": 999}),
        ("POST", "/network_volumes/unlist/", {"id": 999}),
        ("POST", "/tfa/sms/resend/", {"secret": "x"}),
    ):
        assert server.call(method, f"/api/v0{path}", "host", body).json()["msg"]


def test_a_hostname(server: Served) -> None:
    (row,) = ok(server, "GET", "/machines/1", key="host")
    assert row["hostname"] is None or row["hostname"]


def test_numbers_as_text(server: Served) -> None:
    asked = {
        "num_gpus": {"gte": "1"}, "gpu_ram": {"gte": 24_000.0}, "cuda_max_good": {"gte": "0.0"},
        "duration": {"gt": 259_200.0}, "static_ip": {"in": ["true", "false"]},
        "order": [["dph_total", "asc"], ["score", "desc"]], "limit": "2",
        "allocated_storage": "5.0",
    }  # fmt: skip
    assert len(offers(server, **asked)) == 2


def test_any_and_external(server: Served) -> None:
    assert eventually(lambda: offers(server))
    forms: tuple[dict[str, Any], ...] = (
        {"verified": {"eq": "any"}, "rented": {"eq": "any"}}, {"external": {"eq": False}},
        {"external": False, "extra_ids": [], "gpu_option": "x", "show_incompatible": True},
        {"verified": None}, {"type": "ondemand"}, {"type": "interruptible"}, {"order": []},
    )  # fmt: skip
    for asked in forms:
        # GPUs of an earlier test's instance may still be coming free in between.
        assert eventually(partial(_as_many, server, asked))


def _as_many(server: Served, asked: dict[str, Any]) -> bool:
    return len(offers(server, **asked)) == len(offers(server))


RUNTYPES = {
    None: ("ssh_direct ssh_proxy", False),
    "ssh": ("ssh", False),
    "ssh_proxy": ("ssh_proxy", False),
    "ssh_direc ssh_proxy": ("ssh_direc ssh_proxy", False),
    "ssh_direct": ("ssh_direct", False),
    "jupyter_direc ssh_direc ssh_proxy": ("jupyter_direc ssh_direc ssh_proxy", True),
    "jupyter_proxy ssh_proxy": ("jupyter_proxy ssh_proxy", True),
    "jupyter": ("jupyter", True),
    "args": ("args", False),
}


@pytest.mark.parametrize("runtype", RUNTYPES)
def test_runtypes(server: Served, runtype: str | None) -> None:
    shown, jupyter = RUNTYPES[runtype]
    body = {"image": "debian", "disk": 1, "runtype": runtype}

    def rented() -> Any:
        # What the last test gave back may be offered a moment before it can be rented.
        for offer in offers(server)[:1]:
            answer = server.call("PUT", f"/api/v0/asks/{offer['id']}/", "renter", body)
            assert answer.status_code in (200, 404, 410), answer.text
            return answer.json()["new_contract"] if answer.status_code == 200 else None
        return None

    instance = eventually(rented)
    row = row_of(server, instance)
    assert (row["image_runtype"], "jupyter" in row["image_runtype"]) == (shown, jupyter)
    ok(server, "DELETE", f"/instances/{instance}/")


def test_no_price_is_on_demand(server: Served, instance: int) -> None:
    assert row_of(server, instance)["is_bid"] is False
    assert server.call("PUT", "/api/v0/machines/999/minbid/", "host", {"price": 1}).is_error
    body = {"client_id": "me", "price": 1}
    assert server.call("PUT", "/api/v0/instances/bid_price/999/", "renter", body).is_error


def test_gone_raced_away_unaffordable(server: Served, instance: int) -> None:
    taken = row_of(server, instance)["gpu_ids"]
    rows = offers(server, rentable={"eq": "any"})
    offer = next(row["id"] for row in rows if row["gpu_ids"] == taken)
    body = {"image": "debian", "disk": 1, "label": "late"}
    gone = server.call("PUT", f"/api/v0/asks/{offer}/", "other", body)
    assert (gone.status_code, gone.json()["error"]) == (404, "no_such_ask")
    assert "no_such_ask" in gone.json()["msg"]
    raced = server.call("PUT", f"/api/v0/asks/{offer}/", "other", {**body, "cancel_unavail": True})
    assert (raced.status_code, raced.json()["error"]) == (410, "no_such_ask")
    free = eventually(lambda: offers(server))[0]["id"]
    poor = server.call("PUT", f"/api/v0/asks/{free}/", "other", body)
    assert (poor.status_code, poor.json()["error"]) == (400, "insufficient_credit")


def test_destroying_twice(server: Served, instance: int) -> None:
    for _ in range(2):
        assert ok(server, "DELETE", f"/instances/{instance}/")["success"] is True
    assert ok(server, "DELETE", "/instances/", {"instance_ids": [instance]})["success"] is True
    mixed = ok(server, "DELETE", "/instances/", {"instance_ids": [instance, 999_999]})
    assert (mixed["success"], mixed["done"]) == (True, [instance])


def test_output_for_the_official_cli(server: Served, instance: int) -> None:
    path = f"/api/v0/instances/command/{instance}/"
    told = server.call("PUT", path, "renter", {"command": "ls"}, headers=CLI).json()
    assert (told["success"], told["output"]) == (False, "ran ls\n")
    assert "result_url" not in told


def test_an_output_by_its_address(server: Served, instance: int) -> None:
    for path, body, said in (
        (f"/instances/request_logs/{instance}/", {"tail": "10"}, "one\ntwo\n"),
        (f"/instances/command/{instance}/", {"command": "ls"}, "ran ls\n"),
    ):
        url = ok(server, "PUT", path, body)["result_url"]
        assert url.startswith(f"{server.url}/r/")
        assert eventually(partial(_read, server, url)) == said
    assert server.call("GET", "/r/guessed").status_code == 404


def _read(server: Served, url: str) -> str | None:
    answer = server.client.get(url)
    assert answer.status_code in {200, 404}
    return answer.text if answer.status_code == 200 else None


def test_port_22_is_always_mapped(server: Served, instance: int) -> None:
    row = row_of(server, instance)
    port = int(row["ports"]["22/tcp"][0]["HostPort"])
    assert (row["ssh_host"], row["ssh_port"]) == (row["public_ipaddr"], port)


def test_columns_of_a_page(server: Served, instance: int) -> None:
    def page(query: str) -> Any:
        return server.call("GET", f"/api/v1/instances/?{query}", "renter").json()

    (row,) = page('select_cols=["id","actual_status","nothing"]')["instances"]
    assert row == {"id": instance, "actual_status": "running", "nothing": None}
    assert len(page("limit=25")["instances"][0]) > 100
    assert page("limit=25")["next_token"] is None
    wrong = page('select_filters={"nothing":{"eq":1}}')
    assert wrong["error"] == "invalid_request"


def test_a_label_may_be_null(server: Served, instance: int) -> None:
    def found(labels: str) -> list[int]:
        query = f'select_filters={{"label":{{"in":{labels}}}}}'
        answer = server.call("GET", f"/api/v1/instances/?{query}", "renter").json()
        return [row["id"] for row in answer["instances"]]

    assert found('["one"]') == [instance]
    assert found("[null]") == []
    ok(server, "PUT", f"/instances/{instance}/", {"label": ""})
    assert found('["one", null]') == found("[null]") == [instance]


def test_no_user_shows_a_key(server: Served) -> None:
    user = ok(server, "GET", "/users/current")
    assert "api_key" not in user
    assert server.keys["renter"] not in str(user)


def test_keys_stay_out_of_logs(
    database_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with served(database_url, tmp_path) as running:
        key = running.keys["renter"]
        answer = running.call("GET", "/api/v0/users/current", params={"api_key": key})
        assert answer.status_code == 200
        assert running.call("GET", f"/api/v0/nothing/{key}").status_code == 404
    printed = capfd.readouterr()
    assert "/api/v0/users/current" in printed.out + printed.err
    assert key not in printed.out + printed.err
