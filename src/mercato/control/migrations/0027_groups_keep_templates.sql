-- A worker group keeps what its template said when the group took it: whoever changes or deletes the
-- template later changes nothing for the workers of others. Null: it was changed before this was kept.

alter table worker_groups add column template_body jsonb;

-- A deleted template's hash has its id behind it.
update worker_groups g set template_body = t.body
  from templates t
 where t.id = g.template_id and t.hash_id in (g.template_hash, g.template_hash || ':' || t.id);

-- An account's own template that it changed since: so its workers are made until now.
update worker_groups g set template_body = t.body, template_hash = t.hash_id
  from templates t
 where g.template_body is null and t.id = g.template_id and t.creator_id = g.account_id
   and t.deleted_at_ms is null;
