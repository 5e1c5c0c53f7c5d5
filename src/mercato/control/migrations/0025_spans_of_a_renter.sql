-- What a renter spent since a time is found among its own meters of that time: before, every limit
-- asked read every meter that ever ran in the market.

drop index segments_renter_id_idx;
create index on segments (renter_id, to_ms);
