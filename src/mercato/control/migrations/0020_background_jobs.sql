-- The host's own job on GPUs that nobody rents is a contract as any other, of a kind of its own.

alter table contracts drop constraint contracts_kind_check;
alter table contracts add constraint contracts_kind_check
    check (kind in ('ondemand', 'reserved', 'bid', 'background'));
