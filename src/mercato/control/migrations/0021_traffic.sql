-- How much was asked of endpoints, for replays under other parameters.
create table traffic (
    endpoint_id       bigint not null references endpoints,
    minute_ms         bigint not null,
    -- Of the engine that told it: two may have had the endpoint in one minute, each a part of it.
    fence             bigint not null,
    -- [second, requests, units] for each second that had any.
    seconds           jsonb not null,
    primary key (endpoint_id, minute_ms, fence)
);
create index on traffic (minute_ms);
