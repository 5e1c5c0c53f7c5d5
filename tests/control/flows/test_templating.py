"""Templates and the worker groups that took them: what was shown is what runs."""

from typing import Any, Final

import psycopg
import pytest
from msgspec.structs import replace

from mercato.control.db import Database
from mercato.control.flows import serving, templating
from mercato.control.migrate import migrate, migrations
from mercato.control.store import accounts, worker_groups
from mercato.control.store.worker_groups import StoredGroup
from mercato.market import errors
from mercato.market.ids import AccountId, TemplateId
from mercato.serverless.endpoint import Endpoint
from tests.control.flows.wishes import group_wish
from tests.control.market import T0, Market, open_market

BODY: Final = {"name": "llm", "private": False, "image": "debian:12"}
BEFORE: Final = 26
"""The migration before groups kept their templates."""


def group_of(market: Market, creator: AccountId) -> StoredGroup:
    """A worker group of the renter's, of a template of somebody's."""
    endpoint = market.db.run_now(
        serving.create_endpoint, market.renter, "llm", Endpoint(), "key", T0, market.house
    )
    template = market.db.run_now(templating.create, creator, BODY, T0)
    return market.db.run_now(
        serving.create_group,
        group_wish(market.renter, endpoint.id, template.id, template_hash=template.hash_id),
    )


def change(market: Market, creator: AccountId, template: TemplateId, image: str) -> str:
    """Give a template another image; its new hash."""
    found = market.db.run_now(templating.find, creator, template, None)
    body = BODY | {"image": image}
    return market.db.run_now(templating.change, creator, found, body, T0).hash_id


def image_of(market: Market, group: StoredGroup) -> str:
    """What the workers of a group run."""
    now = market.db.run_now(worker_groups.get, group.id)
    assert now is not None
    return str(market.db.run_now(templating.of_group, now).body["image"])


def test_a_group_runs_what_was_shown_when_it_took_its_template(db: Database) -> None:
    market = open_market(db)
    group = group_of(market, market.host)
    newer = change(market, market.host, group.template_id, "alpine")
    assert image_of(market, group) == "debian:12"
    db.run_now(serving.renew_group, market.renter, group.id, T0)
    assert image_of(market, group) == "debian:12"
    db.run_now(templating.delete, market.host, group.template_id, None, T0)
    db.run_now(serving.change_group, replace(group, launch_args="--disk 9"), T0)
    assert image_of(market, group) == "debian:12"
    db.run_now(serving.change_group, replace(group, template_hash=newer), T0)
    with pytest.raises(errors.NotFound, match="set the group's template_hash"):
        image_of(market, group)


def test_another_hash_is_another_content(db: Database) -> None:
    market = open_market(db)
    group = group_of(market, market.host)
    newer = change(market, market.host, group.template_id, "alpine")
    after = db.run_now(serving.change_group, replace(group, template_hash=newer), T0)
    assert (image_of(market, group), after.version) == ("alpine", 2)


def test_ones_own_template_is_taken_anew_when_workers_are_renewed(db: Database) -> None:
    market = open_market(db)
    group = group_of(market, market.renter)
    change(market, market.renter, group.template_id, "alpine")
    assert image_of(market, group) == "debian:12"
    db.run_now(serving.renew_group, market.renter, group.id, T0)
    assert image_of(market, group) == "alpine"


def test_groups_of_an_older_market_keep_what_they_were_shown(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute("create table migrations (number integer primary key, name text not null)")
        for number, (name, sql) in sorted(migrations().items())[:BEFORE]:
            conn.execute(sql.encode())
            conn.execute("insert into migrations values (%s, %s)", (number, name))
    db = Database(empty_database_url, on_poke=lambda _topics: None)
    db.open()
    try:
        kept = _older(db)
        migrate(empty_database_url)
        bodies = {
            row["launch_args"]: (row["template_body"] or {}).get("image")
            for row in db.run_now(lambda tx: tx.all("select * from worker_groups"))
        }
    finally:
        db.close()
    assert bodies == kept


def _older(db: Database) -> dict[str, str | None]:
    """Groups as they were written before; which image each should keep, by its name."""
    mine, other = (
        db.run_now(accounts.create, email=f"{who}@example.com", username=who, now_ms=T0)
        for who in ("mine", "other")
    )
    assert mine is not None
    assert other is not None
    for name, creator in (("same", other), ("gone", other), ("theirs", other), ("own", mine)):
        made = db.run_now(templating.create, creator, {**BODY, "name": name}, T0)
        db.run_now(_write_group, mine, name, made.id, made.hash_id)
        changed = {**BODY, "name": name, "image": "alpine"}
        if name in {"theirs", "own"}:
            db.run_now(templating.change, creator, made, changed, T0)
        if name == "gone":
            db.run_now(templating.delete, creator, made.id, None, T0)
    return {"same": "debian:12", "gone": "debian:12", "theirs": None, "own": "alpine"}


def _write_group(tx: Any, account: AccountId, name: str, template: int, hash_id: str) -> None:
    tx.run(
        "insert into endpoints (account_id, name, parameters, sealed_key, key_hash, created_at_ms,"
        " updated_at_ms) values (%s, %s, '{}', '', %s, 0, 0)",
        account,
        name,
        name.encode(),
    )
    tx.run(
        "insert into worker_groups (endpoint_id, account_id, template_id, template_hash,"
        " search_params, launch_args, test_workers, created_at_ms, updated_at_ms)"
        " select id, account_id, %s, %s, '', name, 3, 0, 0 from endpoints where name = %s",
        template,
        hash_id,
        name,
    )
