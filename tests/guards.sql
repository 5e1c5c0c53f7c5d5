-- Laws asked at every commit: triggers that the databases of tests have and those of markets have
-- not. A transaction that would break a law cannot commit; it fails with `law broken: …`.

create function guard_broken(law text, about text) returns void language plpgsql as $$
begin
    raise exception 'law broken: % (%)', law, about;
end $$;

-- Laws that two versions of a row decide are conditions of triggers, which cost next to nothing
-- where they hold: an `is not true` so that what cannot be told breaks them as well.
create function guard_row() returns trigger language plpgsql as $$
begin
    raise exception 'law broken: % (%)', tg_argv[0], new;
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

create trigger guard_generations before update on machines
    for each row when ((new.generation >= old.generation
                        and new.observed_generation >= old.observed_generation) is not true)
    execute function guard_row('generations only rise');
create trigger guard_boots before update on instances
    for each row when ((new.revision >= old.revision and new.boots >= old.boots) is not true)
    execute function guard_row('revisions and boots only rise');
create trigger guard_bytes before update on instances
    for each row when ((new.up_bytes >= old.up_bytes and new.down_bytes >= old.down_bytes
                        and new.up_bytes_posted >= old.up_bytes_posted
                        and new.down_bytes_posted >= old.down_bytes_posted
                        and new.up_bytes_posted <= new.up_bytes
                        and new.down_bytes_posted <= new.down_bytes) is not true)
    execute function guard_row('bytes only rise, and no more are charged than moved');
create trigger guard_ended before update on instances
    for each row when ((old.intended <> 'destroyed' or new.intended = 'destroyed') is not true)
    execute function guard_row('what was told to end for good is not taken back');
create trigger guard_gone before update on instances
    for each row when ((old.destroyed_at_ms is null
                        or new.destroyed_at_ms = old.destroyed_at_ms) is not true)
    execute function guard_row('what is gone does not come back');
create trigger guard_forward before update on segments
    for each row when (((new.contract_id, new.renter_id, new.kind, new.rate, new.list_rate,
                         new.prepaid, new.from_ms)
                        = (old.contract_id, old.renter_id, old.kind, old.rate, old.list_rate,
                           old.prepaid, old.from_ms)
                        and (old.to_ms is null or new.to_ms = old.to_ms)
                        and new.posted >= old.posted) is not true)
    execute function guard_row('a meter only closes and is only charged');

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
    if coalesce((select balance from purses where name = new.name), 0)
       <> coalesce((select amount from guard_purses where name = new.name), 0) then
        perform guard_broken('a purse is the sum of what moved', new.name);
    end if;
    return null;
end $$;
create constraint trigger guard_purse after insert or update on purses
    deferrable initially deferred for each row execute function guard_purse();
create constraint trigger guard_purse after insert or update on guard_purses
    deferrable initially deferred for each row execute function guard_purse();

-- Meters and holds --------------------------------------------------------------------------------

create function guard_meter() returns trigger language plpgsql as $$
declare
    meter segments;
begin
    select * into meter from segments where id = new.id;
    if (meter.to_ms is null or meter.posted
            = div(meter.rate::numeric * (meter.to_ms - meter.from_ms), 3600000)) is not true then
        perform guard_broken('a closed meter is charged in full', meter::text);
    end if;
    if exists (select from segments other
               where other.contract_id = meter.contract_id and other.kind = meter.kind
                 and other.id <> meter.id and other.rate > 0
                 and other.from_ms < coalesce(meter.to_ms, 9223372036854775807)
                 and meter.from_ms < coalesce(other.to_ms, 9223372036854775807)
                 and other.from_ms < coalesce(other.to_ms, 9223372036854775807)
                 and meter.from_ms < coalesce(meter.to_ms, 9223372036854775807)) then
        perform guard_broken('two spans of a meter never overlap', meter::text);
    end if;
    if meter.kind = 'gpu' and meter.to_ms is null then
        perform guard_running(meter.contract_id);
    end if;
    return null;
end $$;

create function guard_running(contract bigint) returns void language plpgsql as $$
begin
    if not exists (select from instances where id = contract and intended = 'running'
                   and (actual = 'running' or (actual = 'loading' and bills_loading))) then
        perform guard_broken('GPU time is paid only while it runs and should', contract::text);
    end if;
    if (cardinality((select gpus from contracts where id = contract))
            = (select count(*) from gpu_holds where contract_id = contract)) is not true then
        perform guard_broken('GPU time is paid only while all GPUs are held', contract::text);
    end if;
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
                  = (new.machine_id, new.gpu, new.contract_id))
          and not exists (select from contracts c join instances i on i.id = c.id
                          where c.id = new.contract_id and c.machine_id = new.machine_id
                            and new.gpu = any (coalesce(i.gpus, c.gpus))
                            and i.destroyed_at_ms is null) then
        perform guard_broken('a hold is on a GPU of a living contract', new::text);
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
    if it.intended = 'destroyed' and exists (select from segments
                                             where contract_id = it.id and to_ms is null) then
        perform guard_broken('nothing told to end for good is billed', it.id::text);
    end if;
    if it.intended <> 'running'
       or (it.actual <> 'running' and not (it.actual = 'loading' and it.bills_loading)) then
        if exists (select from segments
                   where contract_id = it.id and kind = 'gpu' and to_ms is null) then
            perform guard_broken('GPU time is paid only while it runs and should', it.id::text);
        end if;
    end if;
    if it.destroyed_at_ms is not null then
        if it.intended <> 'destroyed' then
            perform guard_broken('absence is not deletion', it.id::text);
        end if;
        if exists (select from gpu_holds where contract_id = it.id) then
            perform guard_broken('nothing destroyed holds a GPU', it.id::text);
        end if;
    end if;
    if tg_op = 'INSERT' or old.intended <> new.intended then
        if not exists (select from events where contract_id = it.id
                       and at_ms = new.intended_at_ms and reason = new.reason
                       and message <> '') then
            perform guard_broken('a change of what should be has a reason that can be read',
                                 it.id::text);
        end if;
    end if;
    return null;
end $$;
create constraint trigger guard_instance after insert or update on instances
    deferrable initially deferred for each row execute function guard_instance();

create function guard_machine() returns trigger language plpgsql as $$
begin
    if exists (select from machines m join contracts c on c.machine_id = m.id
               join segments s on s.contract_id = c.id and s.to_ms is null
               where m.id = new.id and m.offline_since_ms is not null) then
        perform guard_broken('nothing is billed on a machine that is offline', new.id::text);
    end if;
    if not exists (select from events where machine_id = new.id
                   and kind in ('machine_offline', 'machine_online')) then
        perform guard_broken('a machine that comes or goes is told of', new.id::text);
    end if;
    return null;
end $$;
create constraint trigger guard_machine after update of offline_since_ms on machines
    deferrable initially deferred for each row
    when (old.offline_since_ms is distinct from new.offline_since_ms)
    execute function guard_machine();
