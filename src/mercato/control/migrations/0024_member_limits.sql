-- The member of a team who made an endpoint: what its workers cost counts towards the limits that
-- the team set for them. Null for an endpoint of a person's own account.
alter table endpoints add column member_id bigint references accounts;
