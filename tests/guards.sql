-- Laws asked at every commit: triggers that the databases of tests have and those of markets have
-- not. A transaction that would break a law cannot commit; it fails with `law broken: …`.

create function guard(holds boolean, law text, about text) returns void language plpgsql as $$
begin
    if holds is not true then
        raise exception 'law broken: % (%)', law, about;
    end if;
end $$;

-- What is written once and never changed ----------------------------------------------------------

create function guard_frozen() returns trigger language plpgsql as $$
begin
    raise exception 'law broken: % are never changed (%)', tg_table_name, old;
end $$;
create trigger guard before update or delete on contracts
    for each row execute function guard_frozen();
create trigger guard before update or delete on amendments
    for each row execute function guard_frozen();
create trigger guard before update or delete on transfers
    for each row execute function guard_frozen();
create trigger guard before delete on segments
    for each row execute function guard_frozen();
create trigger guard before delete on usage_records
    for each row execute function guard_frozen();
create trigger guard_change before update on usage_records
    for each row when (old.signature is not null or old.record <> new.record
                       or old.hash <> new.hash or old.number <> new.number)
    execute function guard_frozen();

create function guard_forward() returns trigger language plpgsql as $$
begin
    case tg_table_name
    when 'machines' then
        perform guard(new.generation >= old.generation
                      and new.observed_generation >= old.observed_generation,
                      'generations only rise', new.id::text);
    when 'instances' then
        perform guard(new.revision >= old.revision and new.boots >= old.boots,
                      'revisions and boots only rise', new.id::text);
        perform guard(new.up_bytes >= old.up_bytes and new.down_bytes >= old.down_bytes
                      and new.up_bytes_posted >= old.up_bytes_posted
                      and new.down_bytes_posted >= old.down_bytes_posted
                      and new.up_bytes_posted <= new.up_bytes
                      and new.down_bytes_posted <= new.down_bytes,
                      'bytes only rise, and no more are charged than moved', new.id::text);
        perform guard(old.intended <> 'destroyed' or new.intended = 'destroyed',
                      'what was told to end for good is not taken back', new.id::text);
        perform guard(old.destroyed_at_ms is null or new.destroyed_at_ms = old.destroyed_at_ms,
                      'what is gone does not come back', new.id::text);
    when 'segments' then
        perform guard((new.contract_id, new.renter_id, new.kind, new.rate, new.list_rate,
                       new.prepaid, new.from_ms)
                      = (old.contract_id, old.renter_id, old.kind, old.rate, old.list_rate,
                         old.prepaid, old.from_ms)
                      and (old.to_ms is null or new.to_ms = old.to_ms)
                      and new.posted >= old.posted,
                      'a meter only closes and is only charged', new.id::text);
    end case;
    return new;
end $$;
create trigger guard_forward before update on machines
    for each row execute function guard_forward();
create trigger guard_forward before update on instances
    for each row execute function guard_forward();
create trigger guard_forward before update on segments
    for each row execute function guard_forward();

-- The ledger --------------------------------------------------------------------------------------

-- What each purse must hold, kept beside it by every transfer.
create table guard_purses (name text primary key, amount bigint not null);

create function guard_moved() returns trigger language plpgsql as $$
begin
    insert into guard_purses
        select name, amount from (values (new.debit, -new.amount), (new.credit, new.amount))
            moved (name, amount) where name like '%:%'
        on conflict (name) do update set amount = guard_purses.amount + excluded.amount;
    return new;
end $$;
create trigger guard_moved after insert on transfers
    for each row execute function guard_moved();

create function guard_purse() returns trigger language plpgsql as $$
begin
    perform guard((select coalesce(sum(balance), 0) from purses where name = any (touched))
                  = (select coalesce(sum(amount), 0) from guard_purses where name = any (touched)),
                  'a purse is the sum of what moved', touched::text)
        from (select case tg_table_name
            when 'purses' then array[to_jsonb(new)->>'name']
            else array[to_jsonb(new)->>'debit', to_jsonb(new)->>'credit'] end) asked (touched);
    return null;
end $$;
create constraint trigger guard_purse after insert or update on purses
    deferrable initially deferred for each row execute function guard_purse();
create constraint trigger guard_purse after insert on transfers
    deferrable initially deferred for each row execute function guard_purse();

-- Meters and holds --------------------------------------------------------------------------------

create function guard_meter() returns trigger language plpgsql as $$
declare
    meter segments;
begin
    select * into meter from segments where id = new.id;
    perform guard(meter.to_ms is null
                  or meter.posted = div(meter.rate::numeric * (meter.to_ms - meter.from_ms), 3600000),
                  'a closed meter is charged in full', meter::text);
    perform guard(not exists (select from segments other
                      where other.contract_id = meter.contract_id and other.kind = meter.kind
                        and other.id <> meter.id and other.rate > 0
                        and other.from_ms < coalesce(meter.to_ms, 9223372036854775807)
                        and meter.from_ms < coalesce(other.to_ms, 9223372036854775807)
                        and other.from_ms < coalesce(other.to_ms, 9223372036854775807)
                        and meter.from_ms < coalesce(meter.to_ms, 9223372036854775807)),
                  'two spans of a meter never overlap', meter::text);
    if meter.kind = 'gpu' and meter.to_ms is null then
        perform guard_running(meter.contract_id);
    end if;
    return null;
end $$;

create function guard_running(contract bigint) returns void language plpgsql as $$
begin
    perform guard(exists (select from instances where id = contract
                          and intended = 'running'
                          and (actual = 'running' or (actual = 'loading' and bills_loading))),
                  'GPU time is paid only while it runs and should', contract::text);
    perform guard(cardinality((select gpus from contracts where id = contract))
                  = (select count(*) from gpu_holds where contract_id = contract),
                  'GPU time is paid only while all GPUs are held', contract::text);
end $$;
create constraint trigger guard_meter after insert or update on segments
    deferrable initially deferred for each row execute function guard_meter();

create function guard_hold() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        if exists (select from segments where contract_id = old.contract_id and kind = 'gpu'
                   and to_ms is null) then
            perform guard_running(old.contract_id);
        end if;
    elsif exists (select from gpu_holds where (machine_id, gpu, contract_id)
                  = (new.machine_id, new.gpu, new.contract_id)) then
        perform guard(exists (select from contracts c join instances i on i.id = c.id
                          where c.id = new.contract_id and c.machine_id = new.machine_id
                            and new.gpu = any (coalesce(i.gpus, c.gpus))
                            and i.destroyed_at_ms is null),
                      'a hold is on a GPU of a living contract', new::text);
    end if;
    return null;
end $$;
create constraint trigger guard_hold after insert or delete on gpu_holds
    deferrable initially deferred for each row execute function guard_hold();

-- Instances and machines --------------------------------------------------------------------------

create function guard_instance() returns trigger language plpgsql as $$
declare
    it instances;
begin
    select * into it from instances where id = new.id;
    if not found then
        return null;
    end if;
    perform guard(it.intended <> 'destroyed' or not exists (select from segments
                      where contract_id = it.id and to_ms is null),
                  'nothing told to end for good is billed', it.id::text);
    if it.intended <> 'running'
       or (it.actual <> 'running' and not (it.actual = 'loading' and it.bills_loading)) then
        perform guard(not exists (select from segments
                          where contract_id = it.id and kind = 'gpu' and to_ms is null),
                      'GPU time is paid only while it runs and should', it.id::text);
    end if;
    if it.destroyed_at_ms is not null then
        perform guard(it.intended = 'destroyed', 'absence is not deletion', it.id::text);
        perform guard(not exists (select from gpu_holds where contract_id = it.id),
                      'nothing destroyed holds a GPU', it.id::text);
    end if;
    if tg_op = 'INSERT' or old.intended <> new.intended then
        perform guard(exists (select from events where contract_id = it.id
                          and at_ms = new.intended_at_ms and reason = new.reason and message <> ''),
                      'a change of what should be has a reason that can be read', it.id::text);
    end if;
    return null;
end $$;
create constraint trigger guard_instance after insert or update on instances
    deferrable initially deferred for each row execute function guard_instance();

create function guard_machine() returns trigger language plpgsql as $$
begin
    perform guard(not exists (select from machines m join contracts c on c.machine_id = m.id
                      join segments s on s.contract_id = c.id and s.to_ms is null
                      where m.id = new.id and m.offline_since_ms is not null),
                  'nothing is billed on a machine that is offline', new.id::text);
    perform guard(exists (select from events where machine_id = new.id
                      and kind in ('machine_offline', 'machine_online')),
                  'a machine that comes or goes is told of', new.id::text);
    return null;
end $$;
create constraint trigger guard_machine after update of offline_since_ms on machines
    deferrable initially deferred for each row
    when (old.offline_since_ms is distinct from new.offline_since_ms)
    execute function guard_machine();
