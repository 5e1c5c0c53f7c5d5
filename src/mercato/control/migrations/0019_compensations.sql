-- Time that a host could not prove: what it would have cost, and that nothing was charged for it.

create table compensations (
    id                bigint generated always as identity primary key,
    contract_id       bigint not null references contracts,
    renter_id         bigint not null references accounts,
    kind              text not null check (kind in ('gpu', 'disk')),
    rate              bigint not null,
    from_ms           bigint not null,
    to_ms             bigint not null check (to_ms > from_ms)
);
create index on compensations (renter_id, to_ms);
