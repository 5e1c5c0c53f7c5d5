-- Teams: accounts in which people act as members, each with the rights of a role.

alter table accounts add column is_team boolean not null default false;

-- Three stand in every team from its beginning; what those may is written in market/team.py.
create table team_roles (
    id                bigint generated always as identity primary key,
    team_id           bigint not null references accounts,
    name              text not null,
    kind              text not null check (kind in ('owner', 'manager', 'member', 'custom')),
    permissions       jsonb check ((kind = 'custom') = (permissions is not null)),
    created_at_ms     bigint not null,
    unique (team_id, name)
);

create table team_members (
    team_id           bigint not null references accounts,
    account_id        bigint not null references accounts,
    role_id           bigint not null references team_roles,
    joined_at_ms      bigint not null,
    primary key (team_id, account_id)
);
create index on team_members (account_id);

create table team_invites (
    team_id           bigint not null references accounts,
    account_id        bigint not null references accounts,
    role_id           bigint not null references team_roles,
    invited_at_ms     bigint not null,
    primary key (team_id, account_id)
);
create index on team_invites (account_id);

-- The member whose key of a team it is; null for a key of one's own account.
alter table api_keys add column member_id bigint references accounts;
create index on api_keys (member_id) where deleted_at_ms is null;
