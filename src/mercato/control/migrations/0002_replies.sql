-- Answers to changes that a client may repeat because it lost the first answer.

create table replies (
    account_id        bigint not null references accounts,
    key               text not null,
    -- SHA-256 of the request: the same key with another request is refused.
    digest            bytea not null,
    -- Null while the first request is still at work.
    status            integer,
    body              bytea,
    at_ms             bigint not null,
    primary key (account_id, key)
);
create index on replies (at_ms);
