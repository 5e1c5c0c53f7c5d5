-- Engines that are alive, and what they should know of an endpoint after the death of its owner.

create table engines (
    name              text primary key,
    address           text not null,
    until_ms          bigint not null
);

alter table endpoint_leases add column memory bytea;
