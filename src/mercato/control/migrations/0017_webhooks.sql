-- Where accounts want to be told of what happens, and what was told.

create table webhooks (
    id                bigint generated always as identity primary key,
    account_id        bigint not null references accounts,
    name              text not null,
    url               text not null,
    -- Which kinds of events; empty: all.
    kinds             text[] not null default '{}',
    -- Signs what is posted: sealed with the data key.
    secret            bytea not null,
    created_at_ms     bigint not null,
    deleted_at_ms     bigint
);
create index on webhooks (account_id) where deleted_at_ms is null;

create table notices (
    id                bigint generated always as identity primary key,
    webhook_id        bigint not null references webhooks,
    -- Null: a test.
    event_id          bigint references events,
    attempts          integer not null default 0,
    -- When to post it next; null when it was taken, refused or given up.
    next_at_ms        bigint,
    -- Of the last attempt: the HTTP status, null when nobody answered, and why.
    status            integer,
    problem           text not null default '',
    created_at_ms     bigint not null
);
create index on notices (next_at_ms) where next_at_ms is not null;
create index on notices (webhook_id, id);
