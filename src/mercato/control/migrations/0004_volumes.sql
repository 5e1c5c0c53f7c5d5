-- Volumes: contracts without GPUs whose disk outlives the instances that mount it.

create table volume_listings (
    id                bigint generated always as identity primary key,
    machine_id        bigint not null references machines,
    size_mb           bigint not null check (size_mb > 0),
    price             bigint not null check (price >= 0),
    platform_fee_ppm  integer not null,
    listed_at_ms      bigint not null,
    closed_at_ms      bigint
);
create unique index one_open_volume_listing_per_machine on volume_listings (machine_id)
    where closed_at_ms is null;

create table volumes (
    id                bigint primary key references contracts,
    renter_id         bigint not null references accounts,
    machine_id        bigint not null references machines,
    name              text,
    clone_of          bigint references volumes,
    deleted_at_ms     bigint,
    -- Written only from the agent's report.
    ready_at_ms       bigint,
    message           text not null default '',
    used_mb           bigint,
    gone_at_ms        bigint
);
create index on volumes (renter_id) where gone_at_ms is null;
create index on volumes (machine_id) where gone_at_ms is null;

create table mounts (
    instance_id       bigint not null references instances on delete cascade,
    volume_id         bigint not null references volumes,
    path              text not null,
    primary key (instance_id, path)
);
create index on mounts (volume_id);

-- Whatever has something of a machine's disk.
create view live_contracts as
select id, renter_id, machine_id from instances where destroyed_at_ms is null
union all
select id, renter_id, machine_id from volumes where gone_at_ms is null;
