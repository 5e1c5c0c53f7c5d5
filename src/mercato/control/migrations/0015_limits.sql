-- Spending limits, and on whose behalf each contract was signed beside its renter's.

create table contract_scopes (
    contract_id       bigint not null references contracts,
    scope             text not null,
    scope_id          bigint not null,
    primary key (contract_id, scope)
);
create index on contract_scopes (scope, scope_id);

create table limits (
    id                bigint generated always as identity primary key,
    account_id        bigint not null references accounts,
    scope             text not null,
    scope_id          bigint not null,
    period            text not null check (period in ('hour', 'day', 'month', 'total')),
    amount            bigint not null check (amount > 0),
    action            text not null check (action in ('notify', 'stop')),
    set_at_ms         bigint not null,
    -- When to look at it next; written by flows/limiting.py.
    act_at_ms         bigint,
    -- The beginning of the window in which it was last said to be reached.
    told_from_ms      bigint,
    deleted_at_ms     bigint
);
create index on limits (account_id) where deleted_at_ms is null;
create index on limits (act_at_ms) where deleted_at_ms is null;
