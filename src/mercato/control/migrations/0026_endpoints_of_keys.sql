-- The API key by which an endpoint was made: what its workers cost counts towards that key's limits.
alter table endpoints add column made_by_key bigint references api_keys;
