-- What a provider was asked for a payment, as it was asked first: asked again it is the same to the
-- letter, whatever its account says since. Sealed, as it names where money goes.
alter table payments add column asked bytea;
