-- Terms over time. A contract is never changed: what its parties agreed later is an amendment, and
-- the terms now are those of the latest one.

create table amendments (
    id                bigint generated always as identity primary key,
    contract_id       bigint not null references contracts,
    why               text not null
                      check (why in ('extension', 'price_increase', 'bid', 'reservation')),
    kind              text not null check (kind in ('ondemand', 'reserved', 'bid')),
    gpu_rate          bigint not null check (gpu_rate >= 0),
    disk_price        bigint not null check (disk_price >= 0),
    up_price          bigint not null check (up_price >= 0),
    down_price        bigint not null check (down_price >= 0),
    platform_fee_ppm  integer not null,
    end_at_ms         bigint,
    at_ms             bigint not null
);
create index on amendments (contract_id, id);

create view contracts_now as
select c.id, c.renter_id, c.host_id, c.machine_id, c.listing_id, coalesce(a.kind, c.kind) as kind,
       c.gpus, coalesce(a.gpu_rate, c.gpu_rate) as gpu_rate,
       coalesce(a.disk_price, c.disk_price) as disk_price,
       coalesce(a.up_price, c.up_price) as up_price,
       coalesce(a.down_price, c.down_price) as down_price, c.disk_mb,
       coalesce(a.platform_fee_ppm, c.platform_fee_ppm) as platform_fee_ppm,
       case when a.id is null then c.end_at_ms else a.end_at_ms end as end_at_ms, c.signed_at_ms
  from contracts c
  left join lateral (select * from amendments where contract_id = c.id order by id desc limit 1) a
    on true;
