-- What every charge is for: one chain of records for each account, each with the hash of the one
-- before. A record is kept as the very bytes that were hashed.

create table usage_records (
    account_id        bigint not null references accounts,
    number            bigint not null check (number > 0),
    contract_id       bigint not null references contracts,
    record            bytea not null,
    hash              bytea not null,
    -- Written once, by the loop that seals.
    signature         bytea,
    issued_at_ms      bigint not null,
    primary key (account_id, number)
);
create index on usage_records (account_id, issued_at_ms);
create index on usage_records (account_id, number) where signature is null;
