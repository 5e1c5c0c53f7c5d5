-- Money from outside and to outside, through a provider; how each account pays and is paid.

create table payments (
    id                bigint generated always as identity primary key,
    account_id        bigint not null references accounts,
    purpose           text not null check (purpose in ('checkout', 'top_up', 'payout', 'refund')),
    provider          text not null,
    amount            bigint not null check (amount > 0),
    -- Names it to the provider for ever.
    key               text not null unique,
    of_payment        bigint references payments,
    state             text not null check (state in
                          ('wanted', 'asked', 'waiting', 'succeeded', 'failed')),
    reference         text not null default '',
    failure           text not null default '',
    attempts          integer not null default 0,
    -- When to ask next; null when it has ended or waits for a person.
    next_at_ms        bigint,
    created_at_ms     bigint not null,
    ended_at_ms       bigint
);
create index on payments (account_id, id);
create index on payments (next_at_ms) where next_at_ms is not null;

create table payment_methods (
    account_id        bigint primary key references accounts,
    customer          text not null default '',
    card              text not null default '',
    card_label        text not null default '',
    -- Where earnings go: sealed, as it can be an account number.
    payout_to         bytea,
    updated_at_ms     bigint not null
);

-- Below which credit an account is told, and is topped up by how much; null: not at all.
alter table burns add column warn_below bigint;
alter table burns add column top_up_below bigint;
alter table burns add column top_up_amount bigint;
alter table burns add column told_low boolean not null default false;
