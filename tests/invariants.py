"""What must hold in the database of any market at any moment, asked in SQL.

Each law is a query for what breaks it. Tests of races, crashes and simulations share them. Those
that can be asked of one change alone are asked at every commit by the triggers of guards.sql,
which every database of these tests has.
"""

from pathlib import Path
from typing import Any, Final, LiteralString

from psycopg import Connection

LAWS: Final[dict[str, LiteralString]] = {
    "a hold names a GPU of its contract, or where it was moved to, on the contract's machine": (
        "select h.* from gpu_holds h join contracts c on c.id = h.contract_id"
        " join instances i on i.id = c.id where c.machine_id <> h.machine_id"
        " or not (h.gpu = any (coalesce(i.gpus, c.gpus)))"
    ),
    "who holds a GPU holds all of its contract's": (
        "select c.id from contracts c join gpu_holds h on h.contract_id = c.id"
        " group by c.id having count(*) <> cardinality(c.gpus)"
    ),
    "nothing destroyed holds a GPU": (
        "select h.* from gpu_holds h join instances i on i.id = h.contract_id"
        " where i.destroyed_at_ms is not null"
    ),
    "nothing told to end for good runs a meter": (
        "select s.* from segments s join instances i on i.id = s.contract_id"
        " where s.to_ms is null and i.intended = 'destroyed'"
    ),
    "a disk is billed from creation to destroy, while its host can be heard": (
        "select i.id from instances i join machines m on m.id = i.machine_id"
        " where i.intended <> 'destroyed' and m.offline_since_ms is null"
        " and not exists (select from segments s where s.contract_id = i.id"
        " and s.kind = 'disk' and s.to_ms is null)"
    ),
    "a disk is billed from its signing on": (
        "select i.id from instances i join contracts c on c.id = i.id"
        " where (select min(from_ms) from segments s where s.contract_id = i.id"
        " and s.kind = 'disk') is distinct from c.signed_at_ms"
    ),
    "nothing on a machine that is offline runs a meter": (
        "select s.* from segments s join contracts c on c.id = s.contract_id"
        " join machines m on m.id = c.machine_id"
        " where s.to_ms is null and m.offline_since_ms is not null"
    ),
    "no disk on a machine that fell silent is billed past its last proof of life": (
        "select s.* from segments s join contracts c on c.id = s.contract_id"
        " join machines m on m.id = c.machine_id join instances i on i.id = c.id"
        " where s.kind = 'disk' and s.to_ms > m.offline_since_ms and s.from_ms < s.to_ms"
        " and i.intended <> 'destroyed'"
    ),
    "an open GPU meter belongs to a contract that runs and holds all its GPUs": (
        "select s.* from segments s join contracts c on c.id = s.contract_id"
        " join instances i on i.id = c.id where s.kind = 'gpu' and s.to_ms is null"
        " and (i.intended <> 'running' or i.actual <> 'running' or cardinality(c.gpus) <>"
        " (select count(*) from gpu_holds h where h.contract_id = c.id))"
    ),
    "segments of one meter never overlap": (
        "select a.id, b.id as other from segments a join segments b"
        " on b.contract_id = a.contract_id and b.kind = a.kind and b.id > a.id"
        " where a.from_ms < coalesce(b.to_ms, 9223372036854775807)"
        " and b.from_ms < coalesce(a.to_ms, 9223372036854775807)"
        " and a.from_ms is distinct from a.to_ms and b.from_ms is distinct from b.to_ms"
    ),
    "a meter runs at its contract's terms, the open one at those of now": (
        "select s.* from segments s where not exists (select from (select id, gpu_rate,"
        " disk_price, disk_mb, true as now from contracts_now"
        " union all select id, gpu_rate, disk_price, disk_mb, false from contracts"
        " union all select a.contract_id, a.gpu_rate, a.disk_price, c.disk_mb, false"
        " from amendments a join contracts c on c.id = a.contract_id) terms"
        " where terms.id = s.contract_id and (terms.now or s.to_ms is not null)"
        " and s.list_rate = case s.kind when 'gpu' then terms.gpu_rate"
        " else div(terms.disk_price::numeric * terms.disk_mb, 720000) end)"
        " and not (s.kind = 'gpu' and exists (select from contracts_now c join listings l"
        " on l.id = c.listing_id where c.id = s.contract_id and c.kind = 'bid' and l.bid_uniform))"
    ),
    "under uniform pricing nobody is charged more than was bid, and now what was decided": (
        "select s.* from segments s join contracts_now c on c.id = s.contract_id"
        " join listings l on l.id = c.listing_id left join standings t on t.contract_id = c.id"
        " where s.kind = 'gpu' and c.kind = 'bid' and l.bid_uniform and (s.list_rate >"
        " (select max(rate) from (select gpu_rate as rate from contracts where id = c.id"
        " union all select gpu_rate from amendments where contract_id = c.id) r)"
        " or s.to_ms is null and s.list_rate is distinct from t.price)"
    ),
    "a meter charges its full rate, or what a deposit made of it": (
        "select s.* from segments s left join deposits d on d.contract_id = s.contract_id"
        " where case when not s.prepaid then s.rate <> s.list_rate"
        " when s.to_ms is not null then s.rate > s.list_rate or s.rate < s.list_rate / 2"
        " else s.rate is distinct from"
        " s.list_rate - div(s.list_rate::numeric * d.discount_ppb, 1000000000) end"
    ),
    "what is prepaid is prepaid for a reserved contract": (
        "select p.* from purses p where p.name like 'deposit:%' and p.balance > 0"
        " and not exists (select from deposits d join contracts_now c on c.id = d.contract_id"
        " where p.name = 'deposit:' || d.contract_id and c.kind = 'reserved')"
    ),
    "a closed meter is charged in full": (
        "select * from segments where to_ms is not null"
        " and posted <> div(rate::numeric * (to_ms - from_ms), 3600000)"
    ),
    "what a meter was charged is what moved for it": (
        "select s.id, s.posted, coalesce(m.amount, 0) as moved from segments s full join"
        " (select split_part(cause, ':', 2)::bigint as id, sum(amount) as amount from transfers"
        " where cause like 'segment:%' and kind in ('charge', 'fee') group by 1) m on m.id = s.id"
        " where coalesce(s.posted, 0) <> coalesce(m.amount, 0)"
    ),
    "what traffic was charged is what moved for it": (
        "select i.id, m.amount, r.amount as recorded from instances i"
        " join contracts c on c.id = i.id left join"
        " (select contract_id, sum(amount) as amount from transfers"
        " where cause like 'bytes:%' and kind in ('charge', 'fee') group by 1) m"
        " on m.contract_id = i.id left join"
        " (select contract_id, sum((said->>'amount')::numeric) as amount,"
        " sum((said->>'goodwill')::numeric) as waived from (select contract_id,"
        " convert_from(record, 'UTF8')::jsonb as said from usage_records) u"
        " where said->'use'->>'use' = 'traffic' group by 1) r on r.contract_id = i.id"
        " where coalesce(m.amount, 0) <> coalesce(r.amount - r.waived, 0)"
        " or coalesce(r.amount, 0) <>"
        " div(c.up_price::numeric * i.up_bytes_posted, 1000000000)"
        " + div(c.down_price::numeric * i.down_bytes_posted, 1000000000)"
        " and greatest(c.up_price, c.down_price) <= 10000000000"  # a dearer one was capped
        " and not exists (select from amendments a where a.contract_id = i.id"
        " and (a.up_price, a.down_price) <> (c.up_price, c.down_price))"
    ),
    "the house pays nobody for traffic": (
        "select * from transfers where cause like 'bytes:%' and kind = 'goodwill'"
    ),
    "an on-demand contract has the terms of the listing that was seen": (
        "select c.id from contracts c join listings l on l.id = c.listing_id"
        " where c.kind = 'ondemand' and c.gpu_rate <> 0 and c.renter_id <> c.host_id"
        " and c.gpu_rate <> ceil(l.gpu::numeric * cardinality(c.gpus) * 1000000"
        " / (1000000 - l.platform_fee_ppm))"
    ),
    "every charge has one usage record, and a chain has no gap": (
        "select t.account_id, t.charges, r.charged, r.records, r.last from"
        " (select account_id, count(*) as charges from transfers"
        " where kind = 'charge' group by 1) t full join"
        " (select account_id, count(*) filter (where said->'use'->>'use' <> 'traffic'"
        " or said->'amount' <> said->'goodwill') as charged, count(*) as records,"
        " max(number) as last from (select account_id, number,"
        " convert_from(record, 'UTF8')::jsonb as said from usage_records) u"
        " group by 1) r using (account_id) where coalesce(t.charges, 0) <> coalesce(r.charged, 0)"
        " or r.records is distinct from r.last"
    ),
    "a purse is the sum of what moved": (
        "select p.name, p.balance, coalesce(m.amount, 0) as moved from purses p full join"
        " (select name, sum(amount) as amount from (select credit as name, amount from transfers"
        " union all select debit, -amount from transfers) t"
        " where name like '%:%' group by name) m"
        " on m.name = p.name where coalesce(p.balance, 0) <> coalesce(m.amount, 0)"
    ),
    "no purse is below its floor": "select * from purses where balance < floor",
    "what happened to an instance last is why it is as it should be": (
        "select i.id, i.reason from instances i where not exists (select from events e"
        " where e.contract_id = i.id and e.at_ms = i.intended_at_ms and e.reason = i.reason"
        " and e.message <> '')"
    ),
    "on-demand and reserved are never displaced": (
        "select s.* from standings s join contracts_now c on c.id = s.contract_id"
        " where c.kind in ('ondemand', 'reserved') and (s.pausing or s.yields_at_ms is not null)"
    ),
    "who waits or yields is told for whom, or that its GPUs are gone": (
        "select s.* from standings s where s.promised is null and s.message = ''"
        " and (s.yields_at_ms is not null or not exists"
        " (select from gpu_holds h where h.contract_id = s.contract_id))"
        " or s.why is not null and s.why <> 'host' and s.displaced_by = '{}'"
    ),
    "a bid waits or yields only for what is firm, safe, or pays more together": (
        "select s.* from standings s join contracts_now c on c.id = s.contract_id"
        " where c.kind = 'bid' and s.why is not null and s.why <> 'host' and c.gpu_rate >"
        " (select coalesce(sum(b.gpu_rate), 0) from contracts_now b"
        " where b.id = any (s.displaced_by))"
        " and not exists (select from contracts_now b left join standings t on t.contract_id = b.id"
        " where b.id = any (s.displaced_by)"
        " and (b.kind in ('ondemand', 'reserved') or t.safe_until_ms > 0))"
    ),
    "a host's own job costs nobody anything": (
        "select * from contracts_now where kind = 'background' and (renter_id <> host_id"
        " or greatest(gpu_rate, disk_price, up_price, down_price) > 0)"
    ),
    "a host's own job makes way without a notice": (
        "select s.* from standings s join contracts_now c on c.id = s.contract_id"
        " where c.kind = 'background' and s.yields_at_ms is not null and not s.pausing"
    ),
    "every instance that wants to run stands somewhere, and no other": (
        "select i.id from instances i full join standings s on s.contract_id = i.id"
        " where (i.intended = 'running' and i.destroyed_at_ms is null)"
        " is distinct from (s.contract_id is not null)"
    ),
    "a team has one owner, its own roles and people in it": (
        "select a.id from accounts a where a.is_team and a.deleted_at_ms is null and 1 <>"
        " (select count(*) from team_members m join team_roles r on r.id = m.role_id"
        " where m.team_id = a.id and r.kind = 'owner')"
        " union all select m.account_id from team_members m"
        " join team_roles r on r.id = m.role_id join accounts a on a.id = m.account_id"
        " where r.team_id <> m.team_id or a.is_team"
    ),
    "a key of a team is a member's, and any other nobody else's": (
        "select k.id from api_keys k join accounts a on a.id = k.account_id"
        " where k.kind = 'account' and k.deleted_at_ms is null and a.deleted_at_ms is null"
        " and (k.member_id is not null or a.is_team) and not exists (select from team_members m"
        " where a.is_team and m.team_id = a.id and m.account_id = k.member_id)"
    ),
    "a deployment has a group of its account, and runs a version of its own that is kept": (
        "select d.id from deployments d where not exists (select from worker_groups g"
        " where g.id = d.group_id and g.account_id = d.account_id)"
        " or not exists (select from deployment_versions v where v.id = d.rolled_version_id"
        " and v.deployment_id = d.id and (v.evicted_at_ms is null or d.deleted_at_ms is not null))"
    ),
}


def broken(connection: Connection[Any]) -> dict[str, list[Any]]:
    """Which laws are broken, each with the rows that break it; empty when all hold."""
    found = {law: connection.execute(query).fetchall() for law, query in LAWS.items()}
    return {law: rows for law, rows in found.items() if rows}


def guard(connection: Connection[Any]) -> None:
    """Have the database refuse every commit that breaks a law of guards.sql."""
    text = Path(__file__).with_name("guards.sql").read_text(encoding="utf-8")
    connection.execute(text)
