-- When the agent last reported while it could see its containers: what GPU time is proven up to.

alter table machines add column proven_at_ms bigint;
update machines set proven_at_ms = seen_at_ms;
