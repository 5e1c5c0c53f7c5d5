-- What the migrations make. Drawn by `make docs`, to be read and not run. Of history b07cb8f49da387e8

CREATE TABLE public.accounts (
    id bigint NOT NULL,
    email text NOT NULL,
    username text NOT NULL,
    fullname text DEFAULT ''::text NOT NULL,
    password_hash text,
    is_operator boolean DEFAULT false NOT NULL,
    is_host boolean DEFAULT false NOT NULL,
    parent_id bigint,
    profile jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at_ms bigint NOT NULL,
    deleted_at_ms bigint,
    is_team boolean DEFAULT false NOT NULL
);

ALTER TABLE public.accounts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.accounts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.amendments (
    id bigint NOT NULL,
    contract_id bigint NOT NULL,
    why text NOT NULL,
    kind text NOT NULL,
    gpu_rate bigint NOT NULL,
    disk_price bigint NOT NULL,
    up_price bigint NOT NULL,
    down_price bigint NOT NULL,
    platform_fee_ppm integer NOT NULL,
    end_at_ms bigint,
    at_ms bigint NOT NULL,
    CONSTRAINT amendments_disk_price_check CHECK ((disk_price >= 0)),
    CONSTRAINT amendments_down_price_check CHECK ((down_price >= 0)),
    CONSTRAINT amendments_gpu_rate_check CHECK ((gpu_rate >= 0)),
    CONSTRAINT amendments_kind_check CHECK ((kind = ANY (ARRAY['ondemand'::text, 'reserved'::text, 'bid'::text]))),
    CONSTRAINT amendments_up_price_check CHECK ((up_price >= 0)),
    CONSTRAINT amendments_why_check CHECK ((why = ANY (ARRAY['extension'::text, 'price_increase'::text, 'bid'::text, 'reservation'::text])))
);

ALTER TABLE public.amendments ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.amendments_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.api_keys (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    kind text NOT NULL,
    name text DEFAULT ''::text NOT NULL,
    hash bytea NOT NULL,
    prefix text NOT NULL,
    permissions jsonb,
    contract_id bigint,
    machine_id bigint,
    created_at_ms bigint NOT NULL,
    deleted_at_ms bigint,
    member_id bigint,
    CONSTRAINT api_keys_kind_check CHECK ((kind = ANY (ARRAY['account'::text, 'instance'::text, 'machine'::text])))
);

ALTER TABLE public.api_keys ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.api_keys_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.audit (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    api_key_id bigint,
    ip_address text NOT NULL,
    method text NOT NULL,
    route text NOT NULL,
    args jsonb NOT NULL,
    at_ms bigint NOT NULL
);

ALTER TABLE public.audit ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.burns (
    account_id bigint NOT NULL,
    rate bigint NOT NULL,
    dry_at_ms bigint,
    warned_at_ms bigint,
    warn_below bigint,
    top_up_below bigint,
    top_up_amount bigint,
    told_low boolean DEFAULT false NOT NULL
);

CREATE TABLE public.clearings (
    id bigint NOT NULL,
    machine_id bigint NOT NULL,
    at_ms bigint NOT NULL,
    gpus integer NOT NULL,
    claims jsonb NOT NULL,
    verdict jsonb NOT NULL
);

ALTER TABLE public.clearings ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.clearings_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.compensations (
    id bigint NOT NULL,
    contract_id bigint NOT NULL,
    renter_id bigint NOT NULL,
    kind text NOT NULL,
    rate bigint NOT NULL,
    from_ms bigint NOT NULL,
    to_ms bigint NOT NULL,
    CONSTRAINT compensations_check CHECK ((to_ms > from_ms)),
    CONSTRAINT compensations_kind_check CHECK ((kind = ANY (ARRAY['gpu'::text, 'disk'::text])))
);

ALTER TABLE public.compensations ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.compensations_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.contract_scopes (
    contract_id bigint NOT NULL,
    scope text NOT NULL,
    scope_id bigint NOT NULL
);

CREATE TABLE public.contracts (
    id bigint NOT NULL,
    renter_id bigint NOT NULL,
    host_id bigint NOT NULL,
    machine_id bigint NOT NULL,
    listing_id bigint NOT NULL,
    kind text NOT NULL,
    gpus integer[] NOT NULL,
    gpu_rate bigint NOT NULL,
    disk_price bigint NOT NULL,
    up_price bigint NOT NULL,
    down_price bigint NOT NULL,
    disk_mb bigint NOT NULL,
    platform_fee_ppm integer NOT NULL,
    end_at_ms bigint,
    signed_at_ms bigint NOT NULL,
    CONSTRAINT contracts_disk_mb_check CHECK ((disk_mb > 0)),
    CONSTRAINT contracts_disk_price_check CHECK ((disk_price >= 0)),
    CONSTRAINT contracts_down_price_check CHECK ((down_price >= 0)),
    CONSTRAINT contracts_gpu_rate_check CHECK ((gpu_rate >= 0)),
    CONSTRAINT contracts_kind_check CHECK ((kind = ANY (ARRAY['ondemand'::text, 'reserved'::text, 'bid'::text, 'background'::text]))),
    CONSTRAINT contracts_up_price_check CHECK ((up_price >= 0))
);

ALTER TABLE public.contracts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.contracts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW public.contracts_now AS
 SELECT c.id,
    c.renter_id,
    c.host_id,
    c.machine_id,
    c.listing_id,
    COALESCE(a.kind, c.kind) AS kind,
    c.gpus,
    COALESCE(a.gpu_rate, c.gpu_rate) AS gpu_rate,
    COALESCE(a.disk_price, c.disk_price) AS disk_price,
    COALESCE(a.up_price, c.up_price) AS up_price,
    COALESCE(a.down_price, c.down_price) AS down_price,
    c.disk_mb,
    COALESCE(a.platform_fee_ppm, c.platform_fee_ppm) AS platform_fee_ppm,
        CASE
            WHEN (a.id IS NULL) THEN c.end_at_ms
            ELSE a.end_at_ms
        END AS end_at_ms,
    c.signed_at_ms
   FROM (public.contracts c
     LEFT JOIN LATERAL ( SELECT amendments.id,
            amendments.contract_id,
            amendments.why,
            amendments.kind,
            amendments.gpu_rate,
            amendments.disk_price,
            amendments.up_price,
            amendments.down_price,
            amendments.platform_fee_ppm,
            amendments.end_at_ms,
            amendments.at_ms
           FROM public.amendments
          WHERE (amendments.contract_id = c.id)
          ORDER BY amendments.id DESC
         LIMIT 1) a ON (true));

CREATE TABLE public.decisions (
    id bigint NOT NULL,
    endpoint_id bigint NOT NULL,
    kind text NOT NULL,
    worker_id bigint,
    offer_id bigint,
    reason text NOT NULL,
    outcome text NOT NULL,
    at_ms bigint NOT NULL
);

ALTER TABLE public.decisions ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.decisions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.deployment_versions (
    id bigint NOT NULL,
    deployment_id bigint NOT NULL,
    label text,
    file_hash text NOT NULL,
    file_size bigint NOT NULL,
    image text NOT NULL,
    env text NOT NULL,
    search_params text NOT NULL,
    storage_mb bigint NOT NULL,
    login_hash bytea NOT NULL,
    template_id bigint NOT NULL,
    template_hash text NOT NULL,
    created_at_ms bigint NOT NULL,
    evicted_at_ms bigint,
    removed_at_ms bigint,
    CONSTRAINT deployment_versions_file_size_check CHECK ((file_size > 0)),
    CONSTRAINT deployment_versions_storage_mb_check CHECK ((storage_mb > 0))
);

ALTER TABLE public.deployment_versions ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.deployment_versions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.deployments (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    name text NOT NULL,
    tag text NOT NULL,
    endpoint_id bigint NOT NULL,
    group_id bigint,
    rolled_version_id bigint,
    ttl_ms bigint,
    seen_at_ms bigint NOT NULL,
    created_at_ms bigint NOT NULL,
    updated_at_ms bigint NOT NULL,
    deleted_at_ms bigint,
    CONSTRAINT deployments_ttl_ms_check CHECK ((ttl_ms > 0))
);

ALTER TABLE public.deployments ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.deployments_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.deposits (
    contract_id bigint NOT NULL,
    renter_id bigint NOT NULL,
    months_ppm bigint NOT NULL,
    discount_ppb bigint NOT NULL,
    since_ms bigint NOT NULL,
    used_up_at_ms bigint
);

CREATE TABLE public.end_warnings (
    contract_id bigint NOT NULL,
    end_at_ms bigint NOT NULL,
    before_ms bigint NOT NULL
);

CREATE TABLE public.endpoint_leases (
    endpoint_id bigint NOT NULL,
    engine text NOT NULL,
    fence bigint NOT NULL,
    until_ms bigint NOT NULL,
    memory bytea
);

CREATE TABLE public.endpoints (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    name text NOT NULL,
    parameters jsonb NOT NULL,
    sealed_key bytea NOT NULL,
    key_hash bytea NOT NULL,
    created_at_ms bigint NOT NULL,
    updated_at_ms bigint NOT NULL,
    deleted_at_ms bigint,
    member_id bigint,
    made_by_key bigint
);

ALTER TABLE public.endpoints ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.endpoints_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.engines (
    name text NOT NULL,
    address text NOT NULL,
    until_ms bigint NOT NULL
);

CREATE TABLE public.events (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    contract_id bigint,
    machine_id bigint,
    kind text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    message text NOT NULL,
    at_ms bigint NOT NULL
);

ALTER TABLE public.events ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.gpu_holds (
    machine_id bigint NOT NULL,
    gpu integer NOT NULL,
    contract_id bigint NOT NULL,
    held_since_ms bigint NOT NULL
);

CREATE TABLE public.instance_ssh_keys (
    contract_id bigint NOT NULL,
    ssh_key_id bigint NOT NULL,
    public_key text NOT NULL
);

CREATE TABLE public.instances (
    id bigint NOT NULL,
    renter_id bigint NOT NULL,
    machine_id bigint NOT NULL,
    label text,
    launch jsonb NOT NULL,
    template_id bigint,
    template_hash text,
    jupyter_token text NOT NULL,
    intended text NOT NULL,
    reason text NOT NULL,
    intended_at_ms bigint NOT NULL,
    revision integer DEFAULT 1 NOT NULL,
    boots integer DEFAULT 0 NOT NULL,
    actual text DEFAULT 'absent'::text NOT NULL,
    actual_at_ms bigint,
    actual_revision integer DEFAULT 0 NOT NULL,
    actual_boots integer DEFAULT 0 NOT NULL,
    message text DEFAULT ''::text NOT NULL,
    started_at_ms bigint,
    exit_code integer,
    ports jsonb DEFAULT '{}'::jsonb NOT NULL,
    usage jsonb DEFAULT '{}'::jsonb NOT NULL,
    up_bytes bigint DEFAULT 0 NOT NULL,
    down_bytes bigint DEFAULT 0 NOT NULL,
    up_bytes_posted bigint DEFAULT 0 NOT NULL,
    down_bytes_posted bigint DEFAULT 0 NOT NULL,
    destroyed_at_ms bigint,
    sealed bytea,
    bills_loading boolean DEFAULT false NOT NULL,
    reschedule boolean DEFAULT false NOT NULL,
    gpus integer[],
    CONSTRAINT instances_actual_check CHECK ((actual = ANY (ARRAY['absent'::text, 'loading'::text, 'running'::text, 'stopped'::text, 'exited'::text, 'failed'::text]))),
    CONSTRAINT instances_intended_check CHECK ((intended = ANY (ARRAY['running'::text, 'stopped'::text, 'destroyed'::text])))
);

CREATE TABLE public.ip_addresses (
    account_id bigint NOT NULL,
    ip text NOT NULL,
    first_seen_at_ms bigint NOT NULL
);

CREATE TABLE public.join_tokens (
    hash bytea NOT NULL,
    host_id bigint NOT NULL,
    created_at_ms bigint NOT NULL,
    expires_at_ms bigint NOT NULL,
    machine_id bigint
);

CREATE TABLE public.limits (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    scope text NOT NULL,
    scope_id bigint NOT NULL,
    period text NOT NULL,
    amount bigint NOT NULL,
    action text NOT NULL,
    set_at_ms bigint NOT NULL,
    act_at_ms bigint,
    told_from_ms bigint,
    deleted_at_ms bigint,
    CONSTRAINT limits_action_check CHECK ((action = ANY (ARRAY['notify'::text, 'stop'::text]))),
    CONSTRAINT limits_amount_check CHECK ((amount > 0)),
    CONSTRAINT limits_period_check CHECK ((period = ANY (ARRAY['hour'::text, 'day'::text, 'month'::text, 'total'::text])))
);

ALTER TABLE public.limits ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.limits_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.listings (
    id bigint NOT NULL,
    machine_id bigint NOT NULL,
    gpu bigint NOT NULL,
    disk bigint NOT NULL,
    up bigint NOT NULL,
    down bigint NOT NULL,
    bid_floor bigint NOT NULL,
    min_chunk integer NOT NULL,
    end_at_ms bigint,
    duration text,
    credit_discount_max double precision NOT NULL,
    platform_fee_ppm integer NOT NULL,
    listed_at_ms bigint NOT NULL,
    closed_at_ms bigint,
    bid_notice_ms bigint DEFAULT 120000 NOT NULL,
    bid_run_ms_min bigint DEFAULT 0 NOT NULL,
    bid_uniform boolean DEFAULT false NOT NULL,
    CONSTRAINT listings_bid_floor_check CHECK ((bid_floor >= 0)),
    CONSTRAINT listings_bid_notice_ms_check CHECK ((bid_notice_ms >= 0)),
    CONSTRAINT listings_bid_run_ms_min_check CHECK ((bid_run_ms_min >= 0)),
    CONSTRAINT listings_disk_check CHECK ((disk >= 0)),
    CONSTRAINT listings_down_check CHECK ((down >= 0)),
    CONSTRAINT listings_gpu_check CHECK ((gpu >= 0)),
    CONSTRAINT listings_min_chunk_check CHECK ((min_chunk > 0)),
    CONSTRAINT listings_up_check CHECK ((up >= 0))
);

ALTER TABLE public.listings ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.listings_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.volumes (
    id bigint NOT NULL,
    renter_id bigint NOT NULL,
    machine_id bigint NOT NULL,
    name text,
    clone_of bigint,
    deleted_at_ms bigint,
    ready_at_ms bigint,
    message text DEFAULT ''::text NOT NULL,
    used_mb bigint,
    gone_at_ms bigint
);

CREATE VIEW public.live_contracts AS
 SELECT instances.id,
    instances.renter_id,
    instances.machine_id
   FROM public.instances
  WHERE (instances.destroyed_at_ms IS NULL)
UNION ALL
 SELECT volumes.id,
    volumes.renter_id,
    volumes.machine_id
   FROM public.volumes
  WHERE (volumes.gone_at_ms IS NULL);

CREATE TABLE public.machines (
    id bigint NOT NULL,
    host_id bigint NOT NULL,
    hardware jsonb NOT NULL,
    verification text DEFAULT 'unverified'::text NOT NULL,
    seen_at_ms bigint,
    observed_generation bigint DEFAULT 0 NOT NULL,
    agent_boot text DEFAULT ''::text NOT NULL,
    agent_version text DEFAULT ''::text NOT NULL,
    sees boolean DEFAULT false NOT NULL,
    trouble text DEFAULT ''::text NOT NULL,
    offline_since_ms bigint,
    generation bigint DEFAULT 1 NOT NULL,
    joined_at_ms bigint NOT NULL,
    deleted_at_ms bigint,
    proven_at_ms bigint,
    CONSTRAINT machines_verification_check CHECK ((verification = ANY (ARRAY['unverified'::text, 'verified'::text, 'deverified'::text])))
);

ALTER TABLE public.machines ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.machines_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.maintenances (
    id bigint NOT NULL,
    machine_id bigint NOT NULL,
    from_ms bigint NOT NULL,
    to_ms bigint NOT NULL,
    category text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    announced_at_ms bigint NOT NULL,
    cancelled_at_ms bigint,
    CONSTRAINT maintenances_check CHECK ((to_ms > from_ms))
);

ALTER TABLE public.maintenances ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.maintenances_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.migrations (
    number integer NOT NULL,
    name text NOT NULL
);

CREATE TABLE public.mounts (
    instance_id bigint NOT NULL,
    volume_id bigint NOT NULL,
    path text NOT NULL
);

CREATE TABLE public.notices (
    id bigint NOT NULL,
    webhook_id bigint NOT NULL,
    event_id bigint,
    attempts integer DEFAULT 0 NOT NULL,
    next_at_ms bigint,
    status integer,
    problem text DEFAULT ''::text NOT NULL,
    created_at_ms bigint NOT NULL
);

ALTER TABLE public.notices ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.notices_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.payment_methods (
    account_id bigint NOT NULL,
    customer text DEFAULT ''::text NOT NULL,
    card text DEFAULT ''::text NOT NULL,
    card_label text DEFAULT ''::text NOT NULL,
    payout_to bytea,
    updated_at_ms bigint NOT NULL
);

CREATE TABLE public.payments (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    purpose text NOT NULL,
    provider text NOT NULL,
    amount bigint NOT NULL,
    key text NOT NULL,
    of_payment bigint,
    state text NOT NULL,
    reference text DEFAULT ''::text NOT NULL,
    failure text DEFAULT ''::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_at_ms bigint,
    created_at_ms bigint NOT NULL,
    ended_at_ms bigint,
    asked bytea,
    CONSTRAINT payments_amount_check CHECK ((amount > 0)),
    CONSTRAINT payments_purpose_check CHECK ((purpose = ANY (ARRAY['checkout'::text, 'top_up'::text, 'payout'::text, 'refund'::text]))),
    CONSTRAINT payments_state_check CHECK ((state = ANY (ARRAY['wanted'::text, 'asked'::text, 'waiting'::text, 'succeeded'::text, 'failed'::text])))
);

ALTER TABLE public.payments ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.payments_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.price_hours (
    gpu_name text NOT NULL,
    hour_ms bigint NOT NULL,
    gpus_offered integer NOT NULL,
    gpus_rented integer NOT NULL,
    ask_p10 bigint,
    ask_p50 bigint,
    ask_p90 bigint,
    paid_p50 bigint,
    bid_p50 bigint
);

CREATE TABLE public.price_increases (
    id bigint NOT NULL,
    contract_id bigint NOT NULL,
    listing_id bigint NOT NULL,
    gpu_rate bigint NOT NULL,
    disk_price bigint NOT NULL,
    up_price bigint NOT NULL,
    down_price bigint NOT NULL,
    platform_fee_ppm integer NOT NULL,
    end_at_ms bigint,
    created_at_ms bigint NOT NULL,
    answer text,
    closed_at_ms bigint,
    CONSTRAINT price_increases_answer_check CHECK ((answer = ANY (ARRAY['accepted'::text, 'rejected'::text])))
);

ALTER TABLE public.price_increases ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.price_increases_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.purses (
    name text NOT NULL,
    account_id bigint NOT NULL,
    balance bigint DEFAULT 0 NOT NULL,
    floor bigint DEFAULT 0 NOT NULL,
    CONSTRAINT purses_check CHECK ((balance >= floor))
);

CREATE TABLE public.replies (
    account_id bigint NOT NULL,
    key text NOT NULL,
    digest bytea NOT NULL,
    status integer,
    body bytea,
    at_ms bigint NOT NULL,
    took_effect boolean DEFAULT false NOT NULL
);

CREATE TABLE public.results (
    token text NOT NULL,
    contract_id bigint,
    body text,
    created_at_ms bigint NOT NULL,
    expires_at_ms bigint NOT NULL
);

CREATE TABLE public.secrets (
    account_id bigint NOT NULL,
    name text NOT NULL,
    value_encrypted bytea NOT NULL,
    updated_at_ms bigint NOT NULL
);

CREATE TABLE public.segments (
    id bigint NOT NULL,
    contract_id bigint NOT NULL,
    renter_id bigint NOT NULL,
    kind text NOT NULL,
    rate bigint NOT NULL,
    from_ms bigint NOT NULL,
    to_ms bigint,
    posted bigint DEFAULT 0 NOT NULL,
    list_rate bigint NOT NULL,
    prepaid boolean DEFAULT false NOT NULL,
    CONSTRAINT segments_check CHECK ((to_ms >= from_ms)),
    CONSTRAINT segments_kind_check CHECK ((kind = ANY (ARRAY['gpu'::text, 'disk'::text]))),
    CONSTRAINT segments_posted_check CHECK ((posted >= 0)),
    CONSTRAINT segments_rate_check CHECK ((rate >= 0))
);

ALTER TABLE public.segments ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.segments_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.signing_keys (
    name text NOT NULL,
    sealed bytea NOT NULL,
    created_at_ms bigint NOT NULL
);

CREATE TABLE public.ssh_keys (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    public_key text NOT NULL,
    created_at_ms bigint NOT NULL,
    deleted_at_ms bigint
);

ALTER TABLE public.ssh_keys ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.ssh_keys_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.standing_orders (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    query jsonb NOT NULL,
    price_max bigint NOT NULL,
    sealed_request bytea NOT NULL,
    label text,
    image text NOT NULL,
    state text DEFAULT 'resting'::text NOT NULL,
    message text DEFAULT ''::text NOT NULL,
    contract_id bigint,
    created_at_ms bigint NOT NULL,
    expires_at_ms bigint NOT NULL,
    closed_at_ms bigint,
    CONSTRAINT standing_orders_price_max_check CHECK ((price_max >= 0)),
    CONSTRAINT standing_orders_state_check CHECK ((state = ANY (ARRAY['resting'::text, 'filled'::text, 'cancelled'::text, 'expired'::text, 'failed'::text])))
);

ALTER TABLE public.standing_orders ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.standing_orders_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.standings (
    contract_id bigint NOT NULL,
    machine_id bigint NOT NULL,
    price bigint NOT NULL,
    promised integer[],
    safe_until_ms bigint DEFAULT 0 NOT NULL,
    yields_at_ms bigint,
    pauses_at_ms bigint,
    pausing boolean DEFAULT false NOT NULL,
    why text,
    displaced_by bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    "position" integer DEFAULT 0 NOT NULL,
    message text DEFAULT ''::text NOT NULL,
    CONSTRAINT standings_price_check CHECK ((price >= 0))
);

CREATE TABLE public.team_invites (
    team_id bigint NOT NULL,
    account_id bigint NOT NULL,
    role_id bigint NOT NULL,
    invited_at_ms bigint NOT NULL
);

CREATE TABLE public.team_members (
    team_id bigint NOT NULL,
    account_id bigint NOT NULL,
    role_id bigint NOT NULL,
    joined_at_ms bigint NOT NULL
);

CREATE TABLE public.team_roles (
    id bigint NOT NULL,
    team_id bigint NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    permissions jsonb,
    created_at_ms bigint NOT NULL,
    CONSTRAINT team_roles_check CHECK (((kind = 'custom'::text) = (permissions IS NOT NULL))),
    CONSTRAINT team_roles_kind_check CHECK ((kind = ANY (ARRAY['owner'::text, 'manager'::text, 'member'::text, 'custom'::text])))
);

ALTER TABLE public.team_roles ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.team_roles_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.templates (
    id bigint NOT NULL,
    hash_id text NOT NULL,
    creator_id bigint NOT NULL,
    name text NOT NULL,
    body jsonb NOT NULL,
    private boolean NOT NULL,
    count_created bigint DEFAULT 0 NOT NULL,
    recent_create_at_ms bigint,
    created_at_ms bigint NOT NULL,
    updated_at_ms bigint NOT NULL,
    deleted_at_ms bigint
);

ALTER TABLE public.templates ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.templates_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.traffic (
    endpoint_id bigint NOT NULL,
    minute_ms bigint NOT NULL,
    fence bigint NOT NULL,
    seconds jsonb NOT NULL
);

CREATE TABLE public.transfers (
    cause text NOT NULL,
    debit text NOT NULL,
    credit text NOT NULL,
    amount bigint NOT NULL,
    kind text NOT NULL,
    account_id bigint,
    contract_id bigint,
    at_ms bigint NOT NULL,
    about jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT transfers_amount_check CHECK ((amount > 0)),
    CONSTRAINT transfers_check CHECK ((credit <> debit))
);

CREATE TABLE public.usage_records (
    account_id bigint NOT NULL,
    number bigint NOT NULL,
    contract_id bigint NOT NULL,
    record bytea NOT NULL,
    hash bytea NOT NULL,
    signature bytea,
    issued_at_ms bigint NOT NULL,
    CONSTRAINT usage_records_number_check CHECK ((number > 0))
);

CREATE TABLE public.volume_listings (
    id bigint NOT NULL,
    machine_id bigint NOT NULL,
    size_mb bigint NOT NULL,
    price bigint NOT NULL,
    platform_fee_ppm integer NOT NULL,
    listed_at_ms bigint NOT NULL,
    closed_at_ms bigint,
    CONSTRAINT volume_listings_price_check CHECK ((price >= 0)),
    CONSTRAINT volume_listings_size_mb_check CHECK ((size_mb > 0))
);

ALTER TABLE public.volume_listings ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.volume_listings_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.webhooks (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    name text NOT NULL,
    url text NOT NULL,
    kinds text[] DEFAULT '{}'::text[] NOT NULL,
    secret bytea NOT NULL,
    created_at_ms bigint NOT NULL,
    deleted_at_ms bigint
);

ALTER TABLE public.webhooks ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.webhooks_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.worker_groups (
    id bigint NOT NULL,
    endpoint_id bigint NOT NULL,
    account_id bigint NOT NULL,
    template_id bigint NOT NULL,
    template_hash text NOT NULL,
    search_params text NOT NULL,
    launch_args text DEFAULT ''::text NOT NULL,
    gpu_ram_mb bigint,
    test_workers integer NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at_ms bigint NOT NULL,
    updated_at_ms bigint NOT NULL,
    deleted_at_ms bigint,
    template_body jsonb
);

ALTER TABLE public.worker_groups ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.worker_groups_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.workers (
    id bigint NOT NULL,
    group_id bigint NOT NULL,
    version integer NOT NULL,
    token_hash bytea NOT NULL,
    reason text NOT NULL,
    created_at_ms bigint NOT NULL
);

ALTER TABLE ONLY public.accounts
    ADD CONSTRAINT accounts_email_key UNIQUE (email);

ALTER TABLE ONLY public.accounts
    ADD CONSTRAINT accounts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.amendments
    ADD CONSTRAINT amendments_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_hash_key UNIQUE (hash);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.burns
    ADD CONSTRAINT burns_pkey PRIMARY KEY (account_id);

ALTER TABLE ONLY public.clearings
    ADD CONSTRAINT clearings_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.compensations
    ADD CONSTRAINT compensations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.contract_scopes
    ADD CONSTRAINT contract_scopes_pkey PRIMARY KEY (contract_id, scope);

ALTER TABLE ONLY public.contracts
    ADD CONSTRAINT contracts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.decisions
    ADD CONSTRAINT decisions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.deployment_versions
    ADD CONSTRAINT deployment_versions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.deployments
    ADD CONSTRAINT deployments_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.deposits
    ADD CONSTRAINT deposits_pkey PRIMARY KEY (contract_id);

ALTER TABLE ONLY public.end_warnings
    ADD CONSTRAINT end_warnings_pkey PRIMARY KEY (contract_id);

ALTER TABLE ONLY public.endpoint_leases
    ADD CONSTRAINT endpoint_leases_pkey PRIMARY KEY (endpoint_id);

ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT endpoints_key_hash_key UNIQUE (key_hash);

ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT endpoints_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.engines
    ADD CONSTRAINT engines_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.gpu_holds
    ADD CONSTRAINT gpu_holds_pkey PRIMARY KEY (machine_id, gpu);

ALTER TABLE ONLY public.instance_ssh_keys
    ADD CONSTRAINT instance_ssh_keys_pkey PRIMARY KEY (contract_id, ssh_key_id);

ALTER TABLE ONLY public.instances
    ADD CONSTRAINT instances_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.ip_addresses
    ADD CONSTRAINT ip_addresses_pkey PRIMARY KEY (account_id, ip);

ALTER TABLE ONLY public.join_tokens
    ADD CONSTRAINT join_tokens_pkey PRIMARY KEY (hash);

ALTER TABLE ONLY public.limits
    ADD CONSTRAINT limits_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.listings
    ADD CONSTRAINT listings_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.machines
    ADD CONSTRAINT machines_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.maintenances
    ADD CONSTRAINT maintenances_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (number);

ALTER TABLE ONLY public.mounts
    ADD CONSTRAINT mounts_pkey PRIMARY KEY (instance_id, path);

ALTER TABLE ONLY public.notices
    ADD CONSTRAINT notices_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.payment_methods
    ADD CONSTRAINT payment_methods_pkey PRIMARY KEY (account_id);

ALTER TABLE ONLY public.payments
    ADD CONSTRAINT payments_key_key UNIQUE (key);

ALTER TABLE ONLY public.payments
    ADD CONSTRAINT payments_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.price_hours
    ADD CONSTRAINT price_hours_pkey PRIMARY KEY (gpu_name, hour_ms);

ALTER TABLE ONLY public.price_increases
    ADD CONSTRAINT price_increases_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.purses
    ADD CONSTRAINT purses_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.replies
    ADD CONSTRAINT replies_pkey PRIMARY KEY (account_id, key);

ALTER TABLE ONLY public.results
    ADD CONSTRAINT results_pkey PRIMARY KEY (token);

ALTER TABLE ONLY public.secrets
    ADD CONSTRAINT secrets_pkey PRIMARY KEY (account_id, name);

ALTER TABLE ONLY public.segments
    ADD CONSTRAINT segments_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.signing_keys
    ADD CONSTRAINT signing_keys_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.ssh_keys
    ADD CONSTRAINT ssh_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.standing_orders
    ADD CONSTRAINT standing_orders_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.standings
    ADD CONSTRAINT standings_pkey PRIMARY KEY (contract_id);

ALTER TABLE ONLY public.team_invites
    ADD CONSTRAINT team_invites_pkey PRIMARY KEY (team_id, account_id);

ALTER TABLE ONLY public.team_members
    ADD CONSTRAINT team_members_pkey PRIMARY KEY (team_id, account_id);

ALTER TABLE ONLY public.team_roles
    ADD CONSTRAINT team_roles_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.team_roles
    ADD CONSTRAINT team_roles_team_id_name_key UNIQUE (team_id, name);

ALTER TABLE ONLY public.templates
    ADD CONSTRAINT templates_hash_id_key UNIQUE (hash_id);

ALTER TABLE ONLY public.templates
    ADD CONSTRAINT templates_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.traffic
    ADD CONSTRAINT traffic_pkey PRIMARY KEY (endpoint_id, minute_ms, fence);

ALTER TABLE ONLY public.transfers
    ADD CONSTRAINT transfers_pkey PRIMARY KEY (cause);

ALTER TABLE ONLY public.usage_records
    ADD CONSTRAINT usage_records_pkey PRIMARY KEY (account_id, number);

ALTER TABLE ONLY public.volume_listings
    ADD CONSTRAINT volume_listings_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.volumes
    ADD CONSTRAINT volumes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.webhooks
    ADD CONSTRAINT webhooks_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.worker_groups
    ADD CONSTRAINT worker_groups_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (id);

CREATE INDEX amendments_contract_id_id_idx ON public.amendments USING btree (contract_id, id);

CREATE INDEX api_keys_account_id_idx ON public.api_keys USING btree (account_id) WHERE (deleted_at_ms IS NULL);

CREATE INDEX api_keys_contract_id_idx ON public.api_keys USING btree (contract_id) WHERE (deleted_at_ms IS NULL);

CREATE INDEX api_keys_member_id_idx ON public.api_keys USING btree (member_id) WHERE (deleted_at_ms IS NULL);

CREATE INDEX audit_account_id_id_idx ON public.audit USING btree (account_id, id);

CREATE INDEX burns_dry_at_ms_idx ON public.burns USING btree (dry_at_ms) WHERE (dry_at_ms IS NOT NULL);

CREATE INDEX clearings_machine_id_id_idx ON public.clearings USING btree (machine_id, id);

CREATE INDEX compensations_renter_id_to_ms_idx ON public.compensations USING btree (renter_id, to_ms);

CREATE INDEX contract_scopes_scope_scope_id_idx ON public.contract_scopes USING btree (scope, scope_id);

CREATE INDEX contracts_machine_id_idx ON public.contracts USING btree (machine_id);

CREATE INDEX decisions_endpoint_id_id_idx ON public.decisions USING btree (endpoint_id, id);

CREATE INDEX deployment_versions_deployment_id_id_idx ON public.deployment_versions USING btree (deployment_id, id);

CREATE INDEX deployment_versions_evicted_at_ms_idx ON public.deployment_versions USING btree (evicted_at_ms) WHERE ((evicted_at_ms IS NOT NULL) AND (removed_at_ms IS NULL));

CREATE INDEX deployments_group_id_idx ON public.deployments USING btree (group_id) WHERE (deleted_at_ms IS NULL);

CREATE INDEX deposits_renter_id_idx ON public.deposits USING btree (renter_id);

CREATE INDEX deposits_used_up_at_ms_idx ON public.deposits USING btree (used_up_at_ms) WHERE (used_up_at_ms IS NOT NULL);

CREATE INDEX events_account_id_id_idx ON public.events USING btree (account_id, id);

CREATE INDEX events_contract_id_id_idx ON public.events USING btree (contract_id, id);

CREATE INDEX gpu_holds_contract_id_idx ON public.gpu_holds USING btree (contract_id);

CREATE INDEX instances_machine_id_idx ON public.instances USING btree (machine_id) WHERE (destroyed_at_ms IS NULL);

CREATE INDEX instances_renter_id_idx ON public.instances USING btree (renter_id) WHERE (destroyed_at_ms IS NULL);

CREATE INDEX limits_account_id_idx ON public.limits USING btree (account_id) WHERE (deleted_at_ms IS NULL);

CREATE INDEX limits_act_at_ms_idx ON public.limits USING btree (act_at_ms) WHERE (deleted_at_ms IS NULL);

CREATE INDEX listings_machine_id_idx ON public.listings USING btree (machine_id) WHERE (closed_at_ms IS NULL);

CREATE INDEX machines_host_id_idx ON public.machines USING btree (host_id) WHERE (deleted_at_ms IS NULL);

CREATE INDEX maintenances_machine_id_idx ON public.maintenances USING btree (machine_id) WHERE (cancelled_at_ms IS NULL);

CREATE INDEX mounts_volume_id_idx ON public.mounts USING btree (volume_id);

CREATE INDEX notices_next_at_ms_idx ON public.notices USING btree (next_at_ms) WHERE (next_at_ms IS NOT NULL);

CREATE INDEX notices_webhook_id_id_idx ON public.notices USING btree (webhook_id, id);

CREATE UNIQUE INDEX one_deployment_of_a_name ON public.deployments USING btree (account_id, name, tag) WHERE (deleted_at_ms IS NULL);

CREATE UNIQUE INDEX one_endpoint_of_a_name ON public.endpoints USING btree (account_id, name) WHERE (deleted_at_ms IS NULL);

CREATE UNIQUE INDEX one_open_listing_per_machine ON public.listings USING btree (machine_id) WHERE (closed_at_ms IS NULL);

CREATE UNIQUE INDEX one_open_price_increase_per_contract ON public.price_increases USING btree (contract_id) WHERE (closed_at_ms IS NULL);

CREATE UNIQUE INDEX one_open_segment_per_meter ON public.segments USING btree (contract_id, kind) WHERE (to_ms IS NULL);

CREATE UNIQUE INDEX one_open_volume_listing_per_machine ON public.volume_listings USING btree (machine_id) WHERE (closed_at_ms IS NULL);

CREATE INDEX payments_account_id_id_idx ON public.payments USING btree (account_id, id);

CREATE INDEX payments_next_at_ms_idx ON public.payments USING btree (next_at_ms) WHERE (next_at_ms IS NOT NULL);

CREATE INDEX replies_at_ms_idx ON public.replies USING btree (at_ms);

CREATE INDEX segments_contract_id_idx ON public.segments USING btree (contract_id);

CREATE INDEX segments_renter_id_to_ms_idx ON public.segments USING btree (renter_id, to_ms);

CREATE INDEX ssh_keys_account_id_idx ON public.ssh_keys USING btree (account_id) WHERE (deleted_at_ms IS NULL);

CREATE INDEX standing_orders_account_id_id_idx ON public.standing_orders USING btree (account_id, id);

CREATE INDEX standing_orders_expires_at_ms_idx ON public.standing_orders USING btree (expires_at_ms) WHERE (state = 'resting'::text);

CREATE INDEX standings_machine_id_idx ON public.standings USING btree (machine_id);

CREATE INDEX standings_pauses_at_ms_idx ON public.standings USING btree (pauses_at_ms) WHERE (pauses_at_ms IS NOT NULL);

CREATE INDEX standings_safe_until_ms_idx ON public.standings USING btree (safe_until_ms) WHERE (safe_until_ms > 0);

CREATE INDEX team_invites_account_id_idx ON public.team_invites USING btree (account_id);

CREATE INDEX team_members_account_id_idx ON public.team_members USING btree (account_id);

CREATE INDEX templates_creator_id_idx ON public.templates USING btree (creator_id) WHERE (deleted_at_ms IS NULL);

CREATE INDEX traffic_minute_ms_idx ON public.traffic USING btree (minute_ms);

CREATE INDEX transfers_account_id_at_ms_idx ON public.transfers USING btree (account_id, at_ms);

CREATE INDEX transfers_contract_id_idx ON public.transfers USING btree (contract_id);

CREATE INDEX transfers_credit_at_ms_idx ON public.transfers USING btree (credit, at_ms);

CREATE INDEX transfers_debit_at_ms_idx ON public.transfers USING btree (debit, at_ms);

CREATE INDEX usage_records_account_id_issued_at_ms_idx ON public.usage_records USING btree (account_id, issued_at_ms);

CREATE INDEX usage_records_account_id_number_idx ON public.usage_records USING btree (account_id, number) WHERE (signature IS NULL);

CREATE INDEX volumes_machine_id_idx ON public.volumes USING btree (machine_id) WHERE (gone_at_ms IS NULL);

CREATE INDEX volumes_renter_id_idx ON public.volumes USING btree (renter_id) WHERE (gone_at_ms IS NULL);

CREATE INDEX webhooks_account_id_idx ON public.webhooks USING btree (account_id) WHERE (deleted_at_ms IS NULL);

CREATE INDEX worker_groups_endpoint_id_idx ON public.worker_groups USING btree (endpoint_id) WHERE (deleted_at_ms IS NULL);

CREATE INDEX workers_group_id_idx ON public.workers USING btree (group_id);

ALTER TABLE ONLY public.accounts
    ADD CONSTRAINT accounts_parent_id_fkey FOREIGN KEY (parent_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.amendments
    ADD CONSTRAINT amendments_contract_id_fkey FOREIGN KEY (contract_id) REFERENCES public.contracts(id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_contract_id_fkey FOREIGN KEY (contract_id) REFERENCES public.contracts(id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machines(id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_member_id_fkey FOREIGN KEY (member_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_api_key_id_fkey FOREIGN KEY (api_key_id) REFERENCES public.api_keys(id);

ALTER TABLE ONLY public.burns
    ADD CONSTRAINT burns_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.clearings
    ADD CONSTRAINT clearings_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machines(id);

ALTER TABLE ONLY public.compensations
    ADD CONSTRAINT compensations_contract_id_fkey FOREIGN KEY (contract_id) REFERENCES public.contracts(id);

ALTER TABLE ONLY public.compensations
    ADD CONSTRAINT compensations_renter_id_fkey FOREIGN KEY (renter_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.contract_scopes
    ADD CONSTRAINT contract_scopes_contract_id_fkey FOREIGN KEY (contract_id) REFERENCES public.contracts(id);

ALTER TABLE ONLY public.contracts
    ADD CONSTRAINT contracts_host_id_fkey FOREIGN KEY (host_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.contracts
    ADD CONSTRAINT contracts_listing_id_fkey FOREIGN KEY (listing_id) REFERENCES public.listings(id);

ALTER TABLE ONLY public.contracts
    ADD CONSTRAINT contracts_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machines(id);

ALTER TABLE ONLY public.contracts
    ADD CONSTRAINT contracts_renter_id_fkey FOREIGN KEY (renter_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.decisions
    ADD CONSTRAINT decisions_endpoint_id_fkey FOREIGN KEY (endpoint_id) REFERENCES public.endpoints(id);

ALTER TABLE ONLY public.deployment_versions
    ADD CONSTRAINT deployment_versions_deployment_id_fkey FOREIGN KEY (deployment_id) REFERENCES public.deployments(id);

ALTER TABLE ONLY public.deployment_versions
    ADD CONSTRAINT deployment_versions_template_id_fkey FOREIGN KEY (template_id) REFERENCES public.templates(id);

ALTER TABLE ONLY public.deployments
    ADD CONSTRAINT deployments_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.deployments
    ADD CONSTRAINT deployments_endpoint_id_fkey FOREIGN KEY (endpoint_id) REFERENCES public.endpoints(id);

ALTER TABLE ONLY public.deployments
    ADD CONSTRAINT deployments_group_id_fkey FOREIGN KEY (group_id) REFERENCES public.worker_groups(id);

ALTER TABLE ONLY public.deployments
    ADD CONSTRAINT deployments_rolled_version_id_fkey FOREIGN KEY (rolled_version_id) REFERENCES public.deployment_versions(id);

ALTER TABLE ONLY public.deposits
    ADD CONSTRAINT deposits_contract_id_fkey FOREIGN KEY (contract_id) REFERENCES public.contracts(id);

ALTER TABLE ONLY public.deposits
    ADD CONSTRAINT deposits_renter_id_fkey FOREIGN KEY (renter_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.end_warnings
    ADD CONSTRAINT end_warnings_contract_id_fkey FOREIGN KEY (contract_id) REFERENCES public.contracts(id);

ALTER TABLE ONLY public.endpoint_leases
    ADD CONSTRAINT endpoint_leases_endpoint_id_fkey FOREIGN KEY (endpoint_id) REFERENCES public.endpoints(id);

ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT endpoints_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT endpoints_made_by_key_fkey FOREIGN KEY (made_by_key) REFERENCES public.api_keys(id);

ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT endpoints_member_id_fkey FOREIGN KEY (member_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_contract_id_fkey FOREIGN KEY (contract_id) REFERENCES public.contracts(id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machines(id);

ALTER TABLE ONLY public.gpu_holds
    ADD CONSTRAINT gpu_holds_contract_id_fkey FOREIGN KEY (contract_id) REFERENCES public.contracts(id);

ALTER TABLE ONLY public.gpu_holds
    ADD CONSTRAINT gpu_holds_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machines(id);

ALTER TABLE ONLY public.instance_ssh_keys
    ADD CONSTRAINT instance_ssh_keys_contract_id_fkey FOREIGN KEY (contract_id) REFERENCES public.contracts(id);

ALTER TABLE ONLY public.instance_ssh_keys
    ADD CONSTRAINT instance_ssh_keys_ssh_key_id_fkey FOREIGN KEY (ssh_key_id) REFERENCES public.ssh_keys(id);

ALTER TABLE ONLY public.instances
    ADD CONSTRAINT instances_id_fkey FOREIGN KEY (id) REFERENCES public.contracts(id);

ALTER TABLE ONLY public.instances
    ADD CONSTRAINT instances_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machines(id);

ALTER TABLE ONLY public.instances
    ADD CONSTRAINT instances_renter_id_fkey FOREIGN KEY (renter_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.instances
    ADD CONSTRAINT instances_template_id_fkey FOREIGN KEY (template_id) REFERENCES public.templates(id);

ALTER TABLE ONLY public.ip_addresses
    ADD CONSTRAINT ip_addresses_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.join_tokens
    ADD CONSTRAINT join_tokens_host_id_fkey FOREIGN KEY (host_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.limits
    ADD CONSTRAINT limits_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.listings
    ADD CONSTRAINT listings_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machines(id);

ALTER TABLE ONLY public.machines
    ADD CONSTRAINT machines_host_id_fkey FOREIGN KEY (host_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.maintenances
    ADD CONSTRAINT maintenances_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machines(id);

ALTER TABLE ONLY public.mounts
    ADD CONSTRAINT mounts_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES public.instances(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.mounts
    ADD CONSTRAINT mounts_volume_id_fkey FOREIGN KEY (volume_id) REFERENCES public.volumes(id);

ALTER TABLE ONLY public.notices
    ADD CONSTRAINT notices_event_id_fkey FOREIGN KEY (event_id) REFERENCES public.events(id);

ALTER TABLE ONLY public.notices
    ADD CONSTRAINT notices_webhook_id_fkey FOREIGN KEY (webhook_id) REFERENCES public.webhooks(id);

ALTER TABLE ONLY public.payment_methods
    ADD CONSTRAINT payment_methods_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.payments
    ADD CONSTRAINT payments_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.payments
    ADD CONSTRAINT payments_of_payment_fkey FOREIGN KEY (of_payment) REFERENCES public.payments(id);

ALTER TABLE ONLY public.price_increases
    ADD CONSTRAINT price_increases_contract_id_fkey FOREIGN KEY (contract_id) REFERENCES public.contracts(id);

ALTER TABLE ONLY public.price_increases
    ADD CONSTRAINT price_increases_listing_id_fkey FOREIGN KEY (listing_id) REFERENCES public.listings(id);

ALTER TABLE ONLY public.purses
    ADD CONSTRAINT purses_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.replies
    ADD CONSTRAINT replies_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.results
    ADD CONSTRAINT results_contract_id_fkey FOREIGN KEY (contract_id) REFERENCES public.contracts(id);

ALTER TABLE ONLY public.secrets
    ADD CONSTRAINT secrets_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.segments
    ADD CONSTRAINT segments_contract_id_fkey FOREIGN KEY (contract_id) REFERENCES public.contracts(id);

ALTER TABLE ONLY public.segments
    ADD CONSTRAINT segments_renter_id_fkey FOREIGN KEY (renter_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.ssh_keys
    ADD CONSTRAINT ssh_keys_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.standing_orders
    ADD CONSTRAINT standing_orders_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.standing_orders
    ADD CONSTRAINT standing_orders_contract_id_fkey FOREIGN KEY (contract_id) REFERENCES public.contracts(id);

ALTER TABLE ONLY public.standings
    ADD CONSTRAINT standings_contract_id_fkey FOREIGN KEY (contract_id) REFERENCES public.instances(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.standings
    ADD CONSTRAINT standings_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machines(id);

ALTER TABLE ONLY public.team_invites
    ADD CONSTRAINT team_invites_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.team_invites
    ADD CONSTRAINT team_invites_role_id_fkey FOREIGN KEY (role_id) REFERENCES public.team_roles(id);

ALTER TABLE ONLY public.team_invites
    ADD CONSTRAINT team_invites_team_id_fkey FOREIGN KEY (team_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.team_members
    ADD CONSTRAINT team_members_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.team_members
    ADD CONSTRAINT team_members_role_id_fkey FOREIGN KEY (role_id) REFERENCES public.team_roles(id);

ALTER TABLE ONLY public.team_members
    ADD CONSTRAINT team_members_team_id_fkey FOREIGN KEY (team_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.team_roles
    ADD CONSTRAINT team_roles_team_id_fkey FOREIGN KEY (team_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.templates
    ADD CONSTRAINT templates_creator_id_fkey FOREIGN KEY (creator_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.traffic
    ADD CONSTRAINT traffic_endpoint_id_fkey FOREIGN KEY (endpoint_id) REFERENCES public.endpoints(id);

ALTER TABLE ONLY public.transfers
    ADD CONSTRAINT transfers_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.transfers
    ADD CONSTRAINT transfers_contract_id_fkey FOREIGN KEY (contract_id) REFERENCES public.contracts(id);

ALTER TABLE ONLY public.usage_records
    ADD CONSTRAINT usage_records_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.usage_records
    ADD CONSTRAINT usage_records_contract_id_fkey FOREIGN KEY (contract_id) REFERENCES public.contracts(id);

ALTER TABLE ONLY public.volume_listings
    ADD CONSTRAINT volume_listings_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machines(id);

ALTER TABLE ONLY public.volumes
    ADD CONSTRAINT volumes_clone_of_fkey FOREIGN KEY (clone_of) REFERENCES public.volumes(id);

ALTER TABLE ONLY public.volumes
    ADD CONSTRAINT volumes_id_fkey FOREIGN KEY (id) REFERENCES public.contracts(id);

ALTER TABLE ONLY public.volumes
    ADD CONSTRAINT volumes_machine_id_fkey FOREIGN KEY (machine_id) REFERENCES public.machines(id);

ALTER TABLE ONLY public.volumes
    ADD CONSTRAINT volumes_renter_id_fkey FOREIGN KEY (renter_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.webhooks
    ADD CONSTRAINT webhooks_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.worker_groups
    ADD CONSTRAINT worker_groups_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(id);

ALTER TABLE ONLY public.worker_groups
    ADD CONSTRAINT worker_groups_endpoint_id_fkey FOREIGN KEY (endpoint_id) REFERENCES public.endpoints(id);

ALTER TABLE ONLY public.worker_groups
    ADD CONSTRAINT worker_groups_template_id_fkey FOREIGN KEY (template_id) REFERENCES public.templates(id);

ALTER TABLE ONLY public.workers
    ADD CONSTRAINT workers_group_id_fkey FOREIGN KEY (group_id) REFERENCES public.worker_groups(id);

ALTER TABLE ONLY public.workers
    ADD CONSTRAINT workers_id_fkey FOREIGN KEY (id) REFERENCES public.instances(id) ON DELETE CASCADE;
