-- Serverless: endpoints, the groups of workers that serve them, and which instances are workers.

create table endpoints (
    id                bigint generated always as identity primary key,
    account_id        bigint not null references accounts,
    name              text not null,
    -- What serverless/endpoint.py decides by; its own names.
    parameters        jsonb not null,
    -- The endpoint's own key, for its clients: sealed, as its owner may read it again, and hashed.
    sealed_key        bytea not null,
    key_hash          bytea not null unique,
    created_at_ms     bigint not null,
    updated_at_ms     bigint not null,
    deleted_at_ms     bigint
);
create unique index one_endpoint_of_a_name on endpoints (account_id, name)
    where deleted_at_ms is null;

create table worker_groups (
    id                bigint generated always as identity primary key,
    endpoint_id       bigint not null references endpoints,
    account_id        bigint not null references accounts,
    template_id       bigint not null references templates,
    template_hash     text not null,
    search_params     text not null,
    launch_args       text not null default '',
    gpu_ram_mb        bigint,
    test_workers      integer not null,
    -- Raised when workers must be made anew; each worker knows of which version it is.
    version           integer not null default 1,
    created_at_ms     bigint not null,
    updated_at_ms     bigint not null,
    deleted_at_ms     bigint
);
create index on worker_groups (endpoint_id) where deleted_at_ms is null;

create table workers (
    id                bigint primary key references instances on delete cascade,
    group_id          bigint not null references worker_groups,
    version           integer not null,
    -- The token by which its reports are known to be its own.
    token_hash        bytea not null,
    reason            text not null,
    created_at_ms     bigint not null
);
create index on workers (group_id);

-- A worker pays for its GPUs from the moment that its host begins to load it.
alter table instances add column bills_loading boolean not null default false;

-- Keys by which this market signs, sealed with the data key.
create table signing_keys (
    name              text primary key,
    sealed            bytea not null,
    created_at_ms     bigint not null
);

-- Which engine owns which endpoint, until when, and its fencing number.
create table endpoint_leases (
    endpoint_id       bigint primary key references endpoints,
    engine            text not null,
    fence             bigint not null,
    until_ms          bigint not null
);

-- Why the engine did what it did.
create table decisions (
    id                bigint generated always as identity primary key,
    endpoint_id       bigint not null references endpoints,
    kind              text not null,
    worker_id         bigint,
    offer_id          bigint,
    reason            text not null,
    outcome           text not null,
    at_ms             bigint not null
);
create index on decisions (endpoint_id, id);
