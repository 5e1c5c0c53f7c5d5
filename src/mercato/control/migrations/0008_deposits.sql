-- Reserved contracts: what was prepaid lies in a purse `deposit:<contract>`; meters know that they
-- draw on it, and what they would charge without the discount.

alter table segments add column list_rate bigint;
update segments set list_rate = rate;
alter table segments alter column list_rate set not null;
alter table segments add column prepaid boolean not null default false;

create table deposits (
    contract_id       bigint primary key references contracts,
    renter_id         bigint not null references accounts,
    -- Millionths of a month that were bought, billionths of the price that they save.
    months_ppm        bigint not null,
    discount_ppb      bigint not null,
    -- Since when, without a gap, there has been something in it: discounts count from here.
    since_ms          bigint not null,
    -- When it is used up at its present burn; written by flows/metering.py.
    used_up_at_ms     bigint
);
create index on deposits (renter_id);
create index on deposits (used_up_at_ms) where used_up_at_ms is not null;

create index on transfers (account_id, at_ms);
