"""Money, notices, orders, prices, volumes and a host's chores, against a real market."""

import time

import pytest

from tests.cli.conftest import Run
from tests.cli.market import Person, person
from tests.e2e.conftest import Market

ED25519 = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f somebody"


@pytest.fixture
def renter(mercato: Run, pretend: Market) -> Person:
    return person(mercato, pretend, "renter")


@pytest.fixture
def host(mercato: Run, pretend: Market) -> Person:
    return person(mercato, pretend, "host")


@pytest.fixture
def operator(mercato: Run, pretend: Market) -> Person:
    return person(mercato, pretend, "operator")


def test_money_is_paid_in_by_hand_and_given_back(renter: Person, operator: Person) -> None:
    begun = renter.raw("pay", "in", "25")["payment"]["id"]
    assert str(begun) in operator.says("admin", "payments", "ls")
    operator.says("admin", "payments", "settle", str(begun), "--reference", "bank")
    refused = operator("admin", "payments", "settle", str(begun))
    assert "does not wait" in refused.stderr
    assert "succeeded" in renter.says("pay", "ls")
    assert "$25.0000" in renter.says("bill", "invoices")
    assert "gives back $5.0000" in operator.says("admin", "payments", "refund", str(begun), "5")


def test_credit_moves_and_tops_itself_up(renter: Person, operator: Person) -> None:
    renter.refuses("pay", "send", "nobody@example.com", "1", who="nobody@example.com")
    renter.refuses("pay", "auto", "--off", "--below", "3", either="--off")
    said = renter.says("pay", "auto", "--below", "20", "--amount", "50", "--warn", "30")
    assert "below $20.0000 your card is charged $50.0000" in said
    assert "warned below $30.0000" in said
    assert "no automatic top-up" in renter.says("pay", "auto", "--off", "--warn", "0")
    email = operator.raw("admin", "users", "ls")["accounts"][0]["email"]
    assert email in renter.says("pay", "send", email, "0.5")


def test_a_webhook_is_added_changed_tried_and_removed(renter: Person) -> None:
    renter.refuses("webhooks", "add", "http://plain.example", why="https")
    made = renter.raw("webhooks", "add", "https://hook.invalid/x", "--kind", "credit_low")
    number = str(made["webhook"]["id"])
    assert made["webhook"]["secret"]
    changed = renter.raw("webhooks", "update", number, "--all-kinds", "--name", "mine")
    assert (changed["webhook"]["kinds"], changed["webhook"]["name"]) == ([], "mine")
    renter.refuses("webhooks", "update", number, see="--help")
    assert "mine" in renter.says("webhooks")
    renter.says("webhooks", "test", number)
    assert "test" in renter.says("webhooks", "log", number)
    assert renter.raw("webhooks", "rotate", number)["webhook"]["secret"]
    renter.says("webhooks", "rm", number)
    renter.refuses("webhooks", "rm", number, which=number)
    assert "MESSAGE" in renter.says("events", "-n", "3")


def test_an_order_waits_and_is_called_off(renter: Person, pretend: Market) -> None:
    asked = ("orders", "place", "gpu_name=H100_SXM", "num_gpus=1")
    renter.refuses(*asked, "--price", "0.01", what="--image")
    run = ("--image", pretend.image, "--for", "1")
    renter.refuses(*asked, "--price", "0", *run, what="price")
    placed = renter.raw(*asked, "--price", "0.01", *run)["order"]
    assert placed["state"] == "resting"
    assert pretend.image in renter.says("orders", "ls")
    renter.says("orders", "cancel", str(placed["id"]))
    states = {one["id"]: one["state"] for one in renter.raw("orders")["orders"]}
    assert states[placed["id"]] == "cancelled"


def test_prices_are_shown_as_they_are_now_and_were(renter: Person) -> None:
    assert "H100 SXM" in renter.says("prices")
    assert "AT OR BELOW" in renter.says("prices", "depth", "H100_SXM")
    assert "No GTX 1080 is free" in renter.says("prices", "depth", "GTX 1080")
    renter.says("prices", "history", "H100_SXM", "--hours", "2")
    assert "Nothing is known" in renter.says("prices", "survival", "H100_SXM", "1", "5")
    renter.refuses("prices", "history", "H100_SXM", "--hours", "0", bounds="hours")


def test_a_volume_is_sold_rented_cloned_and_deleted(renter: Person, host: Person) -> None:
    machine = host.raw("machines")["machines"][0]["id"]
    host.says("volumes", "sell", str(machine), "--size", "40", "--price", "0.05")
    [offer] = [
        one for one in renter.raw("volumes", "offers")["offers"] if one["machine_id"] == machine
    ]
    made = renter.raw("volumes", "create", str(offer["id"]), "5", "--name", "models")["id"]
    until = time.monotonic() + 60
    while "It can be mounted" not in renter.says("volumes"):
        assert time.monotonic() < until
    copied = renter.raw("volumes", "clone", str(made), str(offer["id"]))["id"]
    for volume in (copied, made):
        renter.says("volumes", "rm", str(volume), "--yes")
    host.says("volumes", "withdraw", str(offer["id"]))
    renter.refuses("volumes", "create", str(offer["id"]), "5", which=str(offer["id"]))


def test_a_template_is_shown_and_changed(renter: Person) -> None:
    created = renter.raw(
        *("template", "create", "mine", "--image", "debian:12"),
        *("--env", "-e HF_TOKEN=hush -p 80:80"),
    )["template"]
    shown = renter.says("template", "show", created["hash_id"])
    assert "HF_TOKEN=***" in shown
    assert "hush" not in shown
    said = renter.says("template", "edit", created["hash_id"], "--image", "debian:13", "--public")
    after = said.split()[-1]
    found = renter.raw("template", "show", after)
    assert (found["id"], found["image"], found["private"]) == (created["id"], "debian:13", False)
    assert found["env"] == "-e HF_TOKEN=hush -p 80:80"
    renter.says("template", "edit", after, "--private")
    renter.refuses("template", "edit", after, what="--help")
    renter.refuses("template", "edit", after, "--public", "--private", which="both")
    renter.refuses("template", "show", created["hash_id"], hint="template ls")


def test_variables_are_kept_and_never_shown(renter: Person) -> None:
    renter.says("variable", "set", "cli_token", "s3cret")
    assert "is changed" in renter.says("variable", "set", "CLI_TOKEN", "other")
    shown = renter.says("variable", "ls")
    assert "CLI_TOKEN" in shown
    assert "s3cret" not in shown
    assert "other" not in shown
    renter.says("variable", "rm", "cli_token")
    renter.refuses("variable", "rm", "cli_token", which="CLI_TOKEN")


def test_a_host_announces_maintenance_and_sees_what_was_earned(host: Person) -> None:
    machine = str(host.raw("machines", "ls")["machines"][0]["id"])
    host.refuses("maintenance", "announce", machine, "--hours", "2", "--in", "soon", example="36h")
    host.says("maintenance", "announce", machine, "--hours", "2", "--in", "36h", "--reason", "fan")
    assert "fan" in host.says("maintenance")
    assert "1 maintenance window(s)" in host.says("maintenance", "cancel", machine)
    assert "Not paid out yet" in host.says("earnings", "--daily")
    assert "Friday" in host.says("pay", "out-to", "by cheque")
    host.refuses("pay", "use-earnings", "1000000", left="earnings")
    assert "begin at" in host.says("machines", "min-bid", machine, "0.01")
    host.says("machines", "cleanup", machine)
    host.refuses("machines", "rm", "999999", "-y", which="999999")
    assert host.raw("increases")["count"] == 0
    host.refuses("increases", "accept", "999999", which="999999")


def test_an_instance_is_changed_and_the_change_is_on_record(
    renter: Person, pretend: Market
) -> None:
    [offer, *_] = renter.raw("offers", "gpu_name=H100_SXM", "num_gpus=1")["offers"]
    rented = renter.raw("rent", str(offer["id"]), "--image", pretend.image, "--disk", "2", "-w")
    number = str(rented["id"])
    renter.says("label", number, "night")
    assert "night" in renter.says("ps")
    renter.says("recycle", number)
    renter.refuses("update", number, see="--help")
    renter.says("update", number, "--env", "-e A=1 -e HF_TOKEN=hush")
    shown = renter.says("show", number)
    assert "HF_TOKEN" in shown
    assert "hush" not in shown
    assert ["HF_TOKEN", "hush"] in renter.raw("show", number)["extra_env"]
    renter.says("ssh-key", "attach", number, "ssh-ed25519 " + ED25519)
    renter.refuses("rm", number, nobody="--yes")
    renter.says("rm", number, "--yes")
    assert "instances/recycle" in renter.says("key", "log")
