-- The engine's own tables. Things of an app live in the schemas `development` and `live`, one typed table per data type.

CREATE SCHEMA penstock;
CREATE SCHEMA development;
CREATE SCHEMA live;

CREATE TABLE penstock.environments (
    name                 text PRIMARY KEY CHECK (name IN ('development', 'live')),
    deployment_version   integer NOT NULL DEFAULT 0 CHECK (deployment_version >= 0),
    depth_limit          integer NOT NULL DEFAULT 10 CHECK (depth_limit BETWEEN 0 AND 1000000),
    chain_runs_limit     bigint NOT NULL DEFAULT 1000000 CHECK (chain_runs_limit >= 1),
    notification_addresses text[] NOT NULL DEFAULT '{}'
);
COMMENT ON COLUMN penstock.environments.deployment_version IS '0 means that nothing is deployed';
INSERT INTO penstock.environments (name) VALUES ('development'), ('live');

CREATE TABLE penstock.deployments (
    environment text NOT NULL REFERENCES penstock.environments,
    version     integer NOT NULL CHECK (version > 0),
    app         jsonb NOT NULL,
    checksum    text NOT NULL,
    deployed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (environment, version)
);

-- Hot: written three times a run. Few and partial indexes, room on the page, vacuumed by rows touched and not by share.
CREATE TABLE penstock.runs (
    id               uuid PRIMARY KEY,
    chain_id         uuid NOT NULL,
    parent_run_id    uuid,
    list_id          uuid,
    environment      text NOT NULL,
    workflow         text NOT NULL,
    trigger          text NOT NULL
        CHECK (trigger IN ('api', 'webhook', 'schedule', 'recurrence', 'change', 'message', 'manual', 'run')),
    state            text NOT NULL
        CHECK (state IN ('scheduled', 'queued', 'running', 'waiting', 'succeeded', 'failed', 'skipped', 'cancelled', 'terminated')),
    depth            integer NOT NULL CHECK (depth >= 0),
    depth_limit      integer CHECK (depth_limit >= 0),
    priority         smallint NOT NULL DEFAULT 5 CHECK (priority BETWEEN 0 AND 9),
    attempt          integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    failures         smallint NOT NULL DEFAULT 0 CHECK (failures >= 0),
    crashes          smallint NOT NULL DEFAULT 0 CHECK (crashes >= 0),
    version          integer,
    owner            text,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    scheduled_at     timestamptz NOT NULL,
    dispatched_at    timestamptz,
    started_at       timestamptz,
    lease_expires_at timestamptz,
    finished_at      timestamptz,
    parameters       jsonb NOT NULL DEFAULT '{}',
    context          jsonb,
    result           jsonb,
    error            jsonb,
    CONSTRAINT lease_while_running CHECK ((state = 'running') = (lease_expires_at IS NOT NULL)),
    CONSTRAINT finished_when_final
        CHECK ((state IN ('succeeded', 'failed', 'skipped', 'cancelled', 'terminated')) = (finished_at IS NOT NULL)),
    CONSTRAINT root_starts_its_chain CHECK (parent_run_id IS NULL OR depth > 0)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000
);
COMMENT ON COLUMN penstock.runs.depth_limit IS 'the workflow''s own limit at admission; null: the environment''s holds';
COMMENT ON COLUMN penstock.runs.attempt IS 'the fencing number: every claim adds one, every later write of the run names it';
COMMENT ON COLUMN penstock.runs.version IS 'the deployment the run first started with';
CREATE INDEX runs_scheduled ON penstock.runs (scheduled_at) WHERE state = 'scheduled';
CREATE INDEX runs_queued ON penstock.runs (dispatched_at) WHERE state = 'queued';
CREATE INDEX runs_running ON penstock.runs (lease_expires_at) WHERE state = 'running';
CREATE INDEX runs_chain ON penstock.runs (chain_id);
CREATE INDEX runs_created ON penstock.runs (created_at);
CREATE INDEX runs_list ON penstock.runs (list_id) WHERE list_id IS NOT NULL;

CREATE TABLE penstock.steps (
    run_id      uuid NOT NULL,
    step        text NOT NULL,
    action      text NOT NULL,
    outcome     text NOT NULL CHECK (outcome IN ('succeeded', 'failed', 'skipped')),
    attempt     integer NOT NULL,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    result      jsonb,
    error       jsonb,
    PRIMARY KEY (run_id, step)
);
COMMENT ON COLUMN penstock.steps.step IS 'the path of the step: its id, after that of each `trigger` it is nested in';

-- One row per chain that has scheduled anything. The row is locked by every admission into the chain, so a stop waits for the
-- admissions under way and is seen by all later ones.
CREATE TABLE penstock.chains (
    id          uuid PRIMARY KEY,
    environment text NOT NULL,
    runs        bigint NOT NULL CHECK (runs >= 0),
    warned_at   timestamptz,
    stopped_at  timestamptz,
    stop_reason text
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX chains_stopped ON penstock.chains (id) WHERE stopped_at IS NOT NULL;

CREATE TABLE penstock.idempotency_keys (
    environment text NOT NULL,
    scope       text NOT NULL,
    key         text NOT NULL,
    fingerprint bytea NOT NULL,
    run_id      uuid NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (environment, scope, key)
);
CREATE INDEX idempotency_keys_created ON penstock.idempotency_keys (created_at);

CREATE TABLE penstock.deliveries (
    id            uuid PRIMARY KEY,
    environment   text NOT NULL,
    source        text NOT NULL,
    dedup_key     text NOT NULL,
    type          text,
    state         text NOT NULL CHECK (state IN ('accepted', 'unmatched')),
    run_ids       uuid[] NOT NULL DEFAULT '{}',
    duplicates    integer NOT NULL DEFAULT 0,
    received_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    headers       jsonb NOT NULL,
    body          bytea NOT NULL,
    UNIQUE (environment, source, dedup_key)
);
CREATE INDEX deliveries_received ON penstock.deliveries (received_at);

-- A list to be scheduled: stored whole, then expanded chunk by chunk; a chunk and its runs are one transaction.
CREATE TABLE penstock.lists (
    id               uuid PRIMARY KEY,
    environment      text NOT NULL,
    workflow         text NOT NULL,
    parent_run_id    uuid,
    claimed_depth    integer NOT NULL DEFAULT 0 CHECK (claimed_depth >= 0),
    claimed_chain_id uuid,
    priority         smallint,
    total            integer NOT NULL CHECK (total >= 0),
    is_sequential    boolean NOT NULL DEFAULT false,
    start_at         timestamptz NOT NULL,
    interval_seconds double precision NOT NULL DEFAULT 0 CHECK (interval_seconds >= 0),
    state            text NOT NULL DEFAULT 'expanding' CHECK (state IN ('expanding', 'expanded', 'finished', 'failed')),
    error            jsonb,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at      timestamptz
);
CREATE INDEX lists_open ON penstock.lists (created_at) WHERE state IN ('expanding', 'expanded');

CREATE TABLE penstock.list_chunks (
    list_id     uuid NOT NULL REFERENCES penstock.lists ON DELETE CASCADE,
    first_index integer NOT NULL,
    parameters  jsonb NOT NULL,
    next_offset integer NOT NULL DEFAULT 0,
    expanded_at timestamptz,
    PRIMARY KEY (list_id, first_index)
);
COMMENT ON COLUMN penstock.list_chunks.parameters IS 'an array: the parameters of one run each';
COMMENT ON COLUMN penstock.list_chunks.next_offset IS 'of a sequential list: the item in this chunk that comes next';
CREATE INDEX list_chunks_open ON penstock.list_chunks (list_id, first_index) WHERE expanded_at IS NULL;

-- At most one notification of a kind per environment and day: the unique key decides between racing schedulers.
CREATE TABLE penstock.notifications (
    environment  text NOT NULL,
    kind         text NOT NULL,
    day          date NOT NULL,
    details      jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts     smallint NOT NULL DEFAULT 0,
    next_try_at  timestamptz DEFAULT clock_timestamp(),
    sent_at      timestamptz,
    PRIMARY KEY (environment, kind, day)
);
COMMENT ON COLUMN penstock.notifications.next_try_at IS 'null once a scheduler has taken it: from then on it is never sent twice';

CREATE TABLE penstock.logs (
    id          bigint GENERATED ALWAYS AS IDENTITY,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    environment text NOT NULL,
    level       text NOT NULL CHECK (level IN ('debug', 'info', 'warning', 'error')),
    event       text NOT NULL,
    run_id      uuid,
    chain_id    uuid,
    workflow    text,
    step        text,
    depth       integer,
    message     text NOT NULL DEFAULT '',
    details     jsonb
) PARTITION BY RANGE (at);
COMMENT ON COLUMN penstock.logs.event IS 'in Bubble''s words: running event, event completed, error occurred during workflow execution, ...';
CREATE INDEX logs_at ON penstock.logs (environment, at, id);
CREATE INDEX logs_run ON penstock.logs (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX logs_chain ON penstock.logs (chain_id) WHERE chain_id IS NOT NULL AND level <> 'info';
-- Takes what no daily partition covers, so that a line is never lost; the scheduler makes partitions ahead of time.
CREATE TABLE penstock.logs_default PARTITION OF penstock.logs DEFAULT;
