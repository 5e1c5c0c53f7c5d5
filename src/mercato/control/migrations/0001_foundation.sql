-- The foundation: accounts, machines, listings, contracts, meters, the ledger.
-- Times are milliseconds since the epoch (UTC), money is nano-dollars, sizes are megabytes.

create table accounts (
    id                bigint generated always as identity primary key,
    email             text not null unique,
    username          text not null,
    fullname          text not null default '',
    password_hash     text,
    is_operator       boolean not null default false,
    is_host           boolean not null default false,
    parent_id         bigint references accounts,
    profile           jsonb not null default '{}',
    created_at_ms     bigint not null,
    deleted_at_ms     bigint
);

create table ssh_keys (
    id                bigint generated always as identity primary key,
    account_id        bigint not null references accounts,
    public_key        text not null,
    created_at_ms     bigint not null,
    deleted_at_ms     bigint
);
create index on ssh_keys (account_id) where deleted_at_ms is null;

-- Environment variables of an account, encrypted with the server's data key.
create table secrets (
    account_id        bigint not null references accounts,
    name              text not null,
    value_encrypted   bytea not null,
    updated_at_ms     bigint not null,
    primary key (account_id, name)
);

create table ip_addresses (
    account_id        bigint not null references accounts,
    ip                text not null,
    first_seen_at_ms  bigint not null,
    primary key (account_id, ip)
);

create table templates (
    id                bigint generated always as identity primary key,
    hash_id           text not null unique,
    creator_id        bigint not null references accounts,
    name              text not null,
    body              jsonb not null,
    private           boolean not null,
    count_created     bigint not null default 0,
    recent_create_at_ms bigint,
    created_at_ms     bigint not null,
    updated_at_ms     bigint not null,
    deleted_at_ms     bigint
);
create index on templates (creator_id) where deleted_at_ms is null;

create table join_tokens (
    hash              bytea primary key,
    host_id           bigint not null references accounts,
    created_at_ms     bigint not null,
    expires_at_ms     bigint not null,
    machine_id        bigint
);

create table machines (
    id                bigint generated always as identity primary key,
    host_id           bigint not null references accounts,
    hardware          jsonb not null,
    verification      text not null default 'unverified'
                      check (verification in ('unverified', 'verified', 'deverified')),
    -- Written only from the agent's reports.
    seen_at_ms        bigint,
    observed_generation bigint not null default 0,
    agent_boot        text not null default '',
    agent_version     text not null default '',
    sees              boolean not null default false,
    trouble           text not null default '',
    -- Written by the silence loop: when the machine was given up as offline, and why.
    offline_since_ms  bigint,
    -- Raised in every transaction that changes what should be on the machine or what is on sale.
    generation        bigint not null default 1,
    joined_at_ms      bigint not null,
    deleted_at_ms     bigint
);
create index on machines (host_id) where deleted_at_ms is null;

create table listings (
    id                bigint generated always as identity primary key,
    machine_id        bigint not null references machines,
    gpu               bigint not null check (gpu >= 0),
    disk              bigint not null check (disk >= 0),
    up                bigint not null check (up >= 0),
    down              bigint not null check (down >= 0),
    bid_floor         bigint not null check (bid_floor >= 0),
    min_chunk         integer not null check (min_chunk > 0),
    end_at_ms         bigint,
    duration          text,
    credit_discount_max double precision not null,
    platform_fee_ppm  integer not null,
    listed_at_ms      bigint not null,
    closed_at_ms      bigint
);
create unique index one_open_listing_per_machine on listings (machine_id) where closed_at_ms is null;

-- Frozen at signing. Instances and volumes share this number space.
create table contracts (
    id                bigint generated always as identity primary key,
    renter_id         bigint not null references accounts,
    host_id           bigint not null references accounts,
    machine_id        bigint not null references machines,
    listing_id        bigint not null references listings,
    kind              text not null check (kind in ('ondemand', 'reserved', 'bid')),
    gpus              integer[] not null,
    gpu_rate          bigint not null check (gpu_rate >= 0),
    disk_price        bigint not null check (disk_price >= 0),
    up_price          bigint not null check (up_price >= 0),
    down_price        bigint not null check (down_price >= 0),
    disk_mb           bigint not null check (disk_mb > 0),
    platform_fee_ppm  integer not null,
    end_at_ms         bigint,
    signed_at_ms      bigint not null
);

create table instances (
    id                bigint primary key references contracts,
    renter_id         bigint not null references accounts,
    machine_id        bigint not null references machines,
    label             text,
    launch            jsonb not null,
    template_id       bigint references templates,
    template_hash     text,
    jupyter_token     text not null,
    -- Written by renter and market.
    intended          text not null check (intended in ('running', 'stopped', 'destroyed')),
    reason            text not null,
    intended_at_ms    bigint not null,
    revision          integer not null default 1,
    boots             integer not null default 0,
    -- Written only from the agent's report.
    actual            text not null default 'absent'
                      check (actual in ('absent', 'loading', 'running', 'stopped', 'exited', 'failed')),
    actual_at_ms      bigint,
    actual_revision   integer not null default 0,
    actual_boots      integer not null default 0,
    message           text not null default '',
    started_at_ms     bigint,
    exit_code         integer,
    ports             jsonb not null default '{}',
    usage             jsonb not null default '{}',
    up_bytes          bigint not null default 0,
    down_bytes        bigint not null default 0,
    -- Bytes that have been charged; written by flows/metering.py.
    up_bytes_posted   bigint not null default 0,
    down_bytes_posted bigint not null default 0,
    destroyed_at_ms   bigint
);
create index on instances (renter_id) where destroyed_at_ms is null;
create index on instances (machine_id) where destroyed_at_ms is null;

-- Who holds which GPU now. The primary key makes holding one twice unwritable.
create table gpu_holds (
    machine_id        bigint not null references machines,
    gpu               integer not null,
    contract_id       bigint not null references contracts,
    held_since_ms     bigint not null,
    primary key (machine_id, gpu)
);
create index on gpu_holds (contract_id);

-- SSH keys of one instance, copied from the account at signing; later ones attached by hand.
create table instance_ssh_keys (
    contract_id       bigint not null references contracts,
    ssh_key_id        bigint not null references ssh_keys,
    public_key        text not null,
    primary key (contract_id, ssh_key_id)
);

create table api_keys (
    id                bigint generated always as identity primary key,
    account_id        bigint not null references accounts,
    kind              text not null check (kind in ('account', 'instance', 'machine')),
    name              text not null default '',
    hash              bytea not null unique,
    prefix            text not null,
    permissions       jsonb,
    contract_id       bigint references contracts,
    machine_id        bigint references machines,
    created_at_ms     bigint not null,
    deleted_at_ms     bigint
);
create index on api_keys (account_id) where deleted_at_ms is null;

-- A meter: one rate over one span. Written only when a contract changes state.
create table segments (
    id                bigint generated always as identity primary key,
    contract_id       bigint not null references contracts,
    renter_id         bigint not null references accounts,
    kind              text not null check (kind in ('gpu', 'disk')),
    rate              bigint not null check (rate >= 0),
    from_ms           bigint not null,
    to_ms             bigint check (to_ms >= from_ms),
    posted            bigint not null default 0 check (posted >= 0)
);
create unique index one_open_segment_per_meter on segments (contract_id, kind) where to_ms is null;
create index on segments (renter_id) where to_ms is null;
create index on segments (contract_id);

-- The ledger. Purses of accounts keep a balance; those of the platform are sums of transfers.
create table purses (
    name              text primary key,
    account_id        bigint not null references accounts,
    balance           bigint not null default 0,
    floor             bigint not null default 0,
    check (balance >= floor)
);

create table transfers (
    cause             text primary key,
    debit             text not null,
    credit            text not null check (credit <> debit),
    amount            bigint not null check (amount > 0),
    kind              text not null,
    account_id        bigint references accounts,
    contract_id       bigint references contracts,
    at_ms             bigint not null,
    about             jsonb not null default '{}'
);
create index on transfers (debit, at_ms);
create index on transfers (credit, at_ms);
create index on transfers (contract_id);

-- When each account's credit runs dry at its present burn; written by flows/metering.py.
create table burns (
    account_id        bigint primary key references accounts,
    rate              bigint not null,
    dry_at_ms         bigint,
    warned_at_ms      bigint
);
create index on burns (dry_at_ms) where dry_at_ms is not null;

-- What happened and why, for the people it concerns.
create table events (
    id                bigint generated always as identity primary key,
    account_id        bigint not null references accounts,
    contract_id       bigint references contracts,
    machine_id        bigint references machines,
    kind              text not null,
    reason            text not null default '',
    message           text not null,
    at_ms             bigint not null
);
create index on events (account_id, id);
create index on events (contract_id, id);

create table audit (
    id                bigint generated always as identity primary key,
    account_id        bigint not null references accounts,
    api_key_id        bigint references api_keys,
    ip_address        text not null,
    method            text not null,
    route             text not null,
    args              jsonb not null,
    at_ms             bigint not null
);
create index on audit (account_id, id);

-- Output of logs and commands, readable once ready by whoever has the unguessable token.
create table results (
    token             text primary key,
    contract_id       bigint references contracts,
    body              text,
    created_at_ms     bigint not null,
    expires_at_ms     bigint not null
);
