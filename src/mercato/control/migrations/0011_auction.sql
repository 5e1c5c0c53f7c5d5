-- The auction: interruptible contracts, who stands how on each machine, and the public log.

-- On what terms a host takes bids.
alter table listings add column bid_notice_ms bigint not null default 120000
    check (bid_notice_ms >= 0);
alter table listings add column bid_run_ms_min bigint not null default 0
    check (bid_run_ms_min >= 0);
alter table listings add column bid_uniform boolean not null default false;

-- Written by the renter: it may come back on any equal GPUs of its machine.
alter table instances add column reschedule boolean not null default false;
-- Written by flows/clearing.py: where it runs or ran last, when not on the GPUs of its contract.
alter table instances add column gpus integer[];

-- How every instance that wants to run stands; written only by flows/clearing.py.
create table standings (
    contract_id       bigint primary key references instances on delete cascade,
    machine_id        bigint not null references machines,
    price             bigint not null check (price >= 0),
    promised          integer[],
    safe_until_ms     bigint not null default 0,
    yields_at_ms      bigint,
    pauses_at_ms      bigint,
    pausing           boolean not null default false,
    why               text,
    displaced_by      bigint[] not null default '{}',
    position          integer not null default 0,
    message           text not null default ''
);
create index on standings (machine_id);
create index on standings (pauses_at_ms) where pauses_at_ms is not null;
create index on standings (safe_until_ms) where safe_until_ms > 0;

-- The public log: every verdict that changed something, with all that it was decided from.
create table clearings (
    id                bigint generated always as identity primary key,
    machine_id        bigint not null references machines,
    at_ms             bigint not null,
    gpus              integer not null,
    claims            jsonb not null,
    verdict           jsonb not null
);
create index on clearings (machine_id, id);
