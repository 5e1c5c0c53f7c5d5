-- What is secret in an instance's launch (environment, registry login), sealed with the data key.

alter table instances add column sealed bytea;
create index on api_keys (contract_id) where deleted_at_ms is null;
create index on contracts (machine_id);
create index on listings (machine_id) where closed_at_ms is null;
