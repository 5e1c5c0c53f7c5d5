-- What each GPU model cost, hour by hour; prices are nano-dollars for one GPU and hour.

create table price_hours (
    gpu_name          text not null,
    hour_ms           bigint not null,
    gpus_offered      integer not null,
    gpus_rented       integer not null,
    ask_p10           bigint,
    ask_p50           bigint,
    ask_p90           bigint,
    -- What is paid by those who hold GPUs, on demand or reserved, and by bid.
    paid_p50          bigint,
    bid_p50           bigint,
    primary key (gpu_name, hour_ms)
);
