-- Deployments: code of an account that an endpoint's workers run, and its versions.

create table deployments (
    id                bigint generated always as identity primary key,
    account_id        bigint not null references accounts,
    name              text not null,
    tag               text not null,
    endpoint_id       bigint not null references endpoints,
    -- Null only within the transaction that makes it.
    group_id          bigint references worker_groups,
    -- What its workers run, or will as they are renewed; null as above.
    rolled_version_id bigint,
    -- It ends by itself this long after it was heard of last; null: never.
    ttl_ms            bigint check (ttl_ms > 0),
    seen_at_ms        bigint not null,
    created_at_ms     bigint not null,
    updated_at_ms     bigint not null,
    deleted_at_ms     bigint
);
create unique index one_deployment_of_a_name on deployments (account_id, name, tag)
    where deleted_at_ms is null;
create index on deployments (group_id) where deleted_at_ms is null;

-- A version is never changed: other code or other surroundings are another one.
create table deployment_versions (
    id                bigint generated always as identity primary key,
    deployment_id     bigint not null references deployments,
    label             text,
    file_hash         text not null,
    file_size         bigint not null check (file_size > 0),
    image             text not null,
    env               text not null,
    search_params     text not null,
    storage_mb        bigint not null check (storage_mb > 0),
    -- Tells one registry login from another without holding it.
    login_hash        bytea not null,
    template_id       bigint not null references templates,
    template_hash     text not null,
    created_at_ms     bigint not null,
    -- Its code is no longer kept: newer ones took its place, or the deployment ended.
    evicted_at_ms     bigint,
    -- And it lies in the store no more.
    removed_at_ms     bigint
);
create index on deployment_versions (deployment_id, id);
create index on deployment_versions (evicted_at_ms)
    where evicted_at_ms is not null and removed_at_ms is null;

alter table deployments add foreign key (rolled_version_id) references deployment_versions;
