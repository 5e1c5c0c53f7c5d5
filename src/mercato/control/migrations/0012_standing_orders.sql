-- Standing orders: searches that rent by themselves when an offer matches.

create table standing_orders (
    id                bigint generated always as identity primary key,
    account_id        bigint not null references accounts,
    query             jsonb not null,
    -- The most that it may cost an hour, disk included; nano-dollars.
    price_max         bigint not null check (price_max >= 0),
    -- What is to be rented, sealed with the data key, as it holds the environment.
    sealed_request    bytea not null,
    label             text,
    image             text not null,
    state             text not null default 'resting'
                      check (state in ('resting', 'filled', 'cancelled', 'expired', 'failed')),
    message           text not null default '',
    contract_id       bigint references contracts,
    created_at_ms     bigint not null,
    expires_at_ms     bigint not null,
    closed_at_ms      bigint
);
create index on standing_orders (account_id, id);
create index on standing_orders (expires_at_ms) where state = 'resting';
