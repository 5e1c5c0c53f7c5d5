-- What becomes of contracts as their end comes near: higher prices asked, warnings, maintenance.

create table price_increases (
    id                bigint generated always as identity primary key,
    contract_id       bigint not null references contracts,
    listing_id        bigint not null references listings,
    gpu_rate          bigint not null,
    disk_price        bigint not null,
    up_price          bigint not null,
    down_price        bigint not null,
    platform_fee_ppm  integer not null,
    end_at_ms         bigint,
    created_at_ms     bigint not null,
    -- The renter's word; null while it is waited for.
    answer            text check (answer in ('accepted', 'rejected')),
    -- When it became part of the contract, or no longer could.
    closed_at_ms      bigint
);
create unique index one_open_price_increase_per_contract on price_increases (contract_id)
    where closed_at_ms is null;

create table maintenances (
    id                bigint generated always as identity primary key,
    machine_id        bigint not null references machines,
    from_ms           bigint not null,
    to_ms             bigint not null check (to_ms > from_ms),
    category          text not null,
    reason            text not null default '',
    announced_at_ms   bigint not null,
    cancelled_at_ms   bigint
);
create index on maintenances (machine_id) where cancelled_at_ms is null;

-- The last warning that a contract was given before its end.
create table end_warnings (
    contract_id       bigint primary key references contracts,
    end_at_ms         bigint not null,
    before_ms         bigint not null
);
