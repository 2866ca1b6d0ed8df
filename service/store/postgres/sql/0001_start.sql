-- Times are milliseconds. `state` is the whole task as JSON; the columns beside it are what is searched.

CREATE TABLE schema_version (version integer NOT NULL);
INSERT INTO schema_version (version) VALUES (1);

CREATE TABLE meta (name text PRIMARY KEY, value text NOT NULL);

-- One row, updated by whoever stores an event, a delivery or a signal, and locked until that commits. So their numbers
-- have no gaps, and what has a lower number is always visible before what has a higher one.
CREATE TABLE counters (
    events     bigint NOT NULL,
    deliveries bigint NOT NULL,
    signals    bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO counters (events, deliveries, signals) VALUES (0, 0, 0);

CREATE TABLE workers (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lease_until bigint NOT NULL,
    ended       boolean NOT NULL DEFAULT false
) WITH (fillfactor = 10);

-- What each worker counted, kept after its end: counts only ever grow.
CREATE TABLE worker_counts (worker bigint PRIMARY KEY, counts bytea NOT NULL, streams integer NOT NULL);

-- Who owns each group of lanes; 0: nobody.
CREATE TABLE lane_groups (id integer PRIMARY KEY, worker bigint NOT NULL DEFAULT 0);
INSERT INTO lane_groups (id) SELECT generate_series(0, 63);

-- "C": ids sort as they do in Python.
CREATE TABLE tasks (
    id          text COLLATE "C" PRIMARY KEY,
    owner       text COLLATE "C" NOT NULL,
    provider    text COLLATE "C" NOT NULL,
    model       text COLLATE "C" NOT NULL,
    status      text COLLATE "C" NOT NULL,
    state       bytea NOT NULL,
    created_at  bigint NOT NULL,
    finished_at bigint,
    sent_at     bigint,
    check_at    bigint,
    deadline_at bigint NOT NULL,
    place_until bigint
) WITH (fillfactor = 80);
CREATE INDEX tasks_by_owner ON tasks (owner, id);
CREATE INDEX tasks_by_model ON tasks (owner, model, id);
CREATE INDEX tasks_by_provider ON tasks (owner, provider, id);
-- What a callback moves among is in no index by status: completed tasks are found by owner, open ones by `tasks_open`.
CREATE INDEX tasks_by_status ON tasks (owner, status, id) WHERE status IN ('queued', 'failed', 'canceled');
CREATE INDEX tasks_queue ON tasks (provider, owner, id) WHERE status = 'queued' AND sent_at IS NULL;
CREATE INDEX tasks_open ON tasks (provider, check_at) WHERE finished_at IS NULL AND sent_at IS NOT NULL;
CREATE INDEX tasks_deadline ON tasks (deadline_at) WHERE finished_at IS NULL;
-- Canceled here, perhaps still running there: they take a place at the provider until then.
CREATE INDEX tasks_lingering ON tasks (provider, place_until) WHERE place_until IS NOT NULL;

-- What tasks are searched by: of their metadata the text that a query is compared with, of long text the beginning.
CREATE TABLE task_metadata (
    task_id text COLLATE "C" NOT NULL,
    owner   text COLLATE "C" NOT NULL,
    key     text COLLATE "C" NOT NULL,
    value   text COLLATE "C" NOT NULL,
    PRIMARY KEY (task_id, key, value)
);
CREATE INDEX task_metadata_by_value ON task_metadata (owner, key, value, task_id);

CREATE TABLE idempotency (
    owner       text COLLATE "C" NOT NULL,
    key         text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,
    task_id     text COLLATE "C" NOT NULL,
    created_at  bigint NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_old ON idempotency (created_at);

CREATE TABLE events (
    seq     bigint PRIMARY KEY,
    id      text COLLATE "C" NOT NULL,
    type    text COLLATE "C" NOT NULL,
    owner   text COLLATE "C" NOT NULL,
    task_id text COLLATE "C",
    at      bigint NOT NULL,
    body    bytea NOT NULL
);
CREATE INDEX events_by_task ON events (task_id, seq);
CREATE INDEX events_by_owner ON events (owner, type, seq);
CREATE INDEX events_without_task ON events (at, seq) WHERE task_id IS NULL;

CREATE TABLE subscriptions (
    id         text COLLATE "C" PRIMARY KEY,
    owner      text COLLATE "C" NOT NULL,
    enabled    boolean NOT NULL,
    state      bytea NOT NULL
);
CREATE INDEX subscriptions_by_owner ON subscriptions (owner, id);

-- What other processes must hear of and no event tells: a changed subscription, a lane to look at.
CREATE TABLE signals (
    n    bigint PRIMARY KEY,
    kind text NOT NULL,
    name text NOT NULL,
    at   bigint NOT NULL
);

-- A lane is a subscription's id, or `url:` with owner and address for the callback_url of tasks. `worker` 0: nobody has
-- it in hand.
CREATE TABLE deliveries (
    n               bigint PRIMARY KEY,
    lane            text COLLATE "C" NOT NULL,
    subscription_id text COLLATE "C",
    owner           text COLLATE "C" NOT NULL,
    seq             bigint NOT NULL,
    event_id        text COLLATE "C" NOT NULL,
    event_type      text COLLATE "C" NOT NULL,
    task_id         text COLLATE "C",
    url             text NOT NULL,
    status          text COLLATE "C" NOT NULL DEFAULT 'pending',
    tries           integer NOT NULL DEFAULT 0,
    attempts        bytea,
    next_attempt_at bigint,
    worker          bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 80);
CREATE INDEX deliveries_queue ON deliveries (lane, next_attempt_at, n) WHERE status = 'pending' AND worker = 0;
CREATE INDEX deliveries_in_hand ON deliveries (worker, lane) WHERE status = 'pending' AND worker > 0;
CREATE INDEX deliveries_by_task ON deliveries (task_id, n);
CREATE INDEX deliveries_dead ON deliveries (owner, n) WHERE status = 'dead';
CREATE INDEX deliveries_without_task ON deliveries (seq) WHERE task_id IS NULL;
CREATE INDEX deliveries_by_subscription ON deliveries (subscription_id, n);

-- Calls at the provider doors, redacted; bounded in number, so it needs no index.
CREATE TABLE callbacks (
    n           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          bigint NOT NULL,
    provider    text NOT NULL,
    task_id     text,
    result      text NOT NULL,
    status_code integer NOT NULL,
    detail      text,
    body        text
);

-- Pictures that came inline, in pieces.
CREATE TABLE inline_files (
    name     text COLLATE "C" PRIMARY KEY,
    size     bigint NOT NULL,
    saved_at bigint NOT NULL
);
CREATE INDEX inline_files_old ON inline_files (saved_at);
CREATE TABLE inline_pieces (
    name  text COLLATE "C" NOT NULL REFERENCES inline_files (name) ON DELETE CASCADE,
    piece integer NOT NULL,
    data  bytea NOT NULL,
    PRIMARY KEY (name, piece)
);
ALTER TABLE inline_pieces ALTER COLUMN data SET STORAGE EXTERNAL;
