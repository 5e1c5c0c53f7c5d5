-- Whether a request whose answer was lost had changed something: it is not done again then.

alter table replies add column took_effect boolean not null default false;
