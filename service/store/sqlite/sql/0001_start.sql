-- Times are milliseconds. `state` is the whole task as JSON; the columns beside it are what is searched.

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE tasks (
    n           INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    owner       TEXT NOT NULL,
    provider    TEXT NOT NULL,
    model       TEXT NOT NULL,
    status      TEXT NOT NULL,
    state       BLOB NOT NULL,
    created_at  INTEGER NOT NULL,
    finished_at INTEGER,
    sent_at     INTEGER,
    check_at    INTEGER,
    deadline_at INTEGER NOT NULL
);
CREATE INDEX tasks_by_owner ON tasks (owner, id);
CREATE INDEX tasks_by_model ON tasks (owner, model, id);
-- Most tasks end completed: those are found by owner, and leave this index, which is what a callback pays for.
CREATE INDEX tasks_by_status ON tasks (status, owner, id) WHERE status <> 'completed';
-- What waits here, and what was sent and is not finished: small, however long the history grows.
CREATE INDEX tasks_queue ON tasks (provider, owner, id, deadline_at) WHERE status = 'queued' AND sent_at IS NULL;
CREATE INDEX tasks_open ON tasks (provider, status, check_at, deadline_at)
    WHERE finished_at IS NULL AND sent_at IS NOT NULL;

CREATE TABLE idempotency (
    owner       TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    task_id     TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (owner, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_old ON idempotency (created_at);

-- AUTOINCREMENT: a seq is never given twice, also after the newest events were removed.
CREATE TABLE events (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT NOT NULL,
    type    TEXT NOT NULL,
    owner   TEXT NOT NULL,
    task_id TEXT,
    at      INTEGER NOT NULL,
    body    BLOB NOT NULL
);
CREATE INDEX events_by_task ON events (task_id, seq);
CREATE INDEX events_by_owner ON events (owner, seq);
CREATE INDEX events_without_task ON events (at, seq) WHERE task_id IS NULL;

CREATE TABLE subscriptions (
    id              TEXT PRIMARY KEY,
    owner           TEXT NOT NULL,
    url             TEXT NOT NULL,
    events          TEXT NOT NULL,
    filter          TEXT NOT NULL,
    description     TEXT,
    headers         TEXT NOT NULL,
    secret          TEXT NOT NULL,
    old_secrets     TEXT NOT NULL,
    enabled         INTEGER NOT NULL DEFAULT 1,
    disabled_reason TEXT,
    failing_since   INTEGER,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) WITHOUT ROWID;

-- A lane is a subscription's id, or `url:` with owner and origin for the callback_url of tasks.
CREATE TABLE deliveries (
    n               INTEGER PRIMARY KEY AUTOINCREMENT,
    lane            TEXT NOT NULL,
    subscription_id TEXT,
    owner           TEXT NOT NULL,
    seq             INTEGER NOT NULL,
    event_id        TEXT NOT NULL,
    event_type      TEXT NOT NULL,
    task_id         TEXT,
    url             TEXT NOT NULL,
    status          TEXT NOT NULL DEFAULT 'pending',
    tries           INTEGER NOT NULL DEFAULT 0,
    attempts        BLOB,
    next_attempt_at INTEGER,
    lease_until     INTEGER NOT NULL DEFAULT 0
);
-- The row is the queue: what waits is the partial index, however many rows are done.
CREATE INDEX deliveries_queue ON deliveries (lane, lease_until, next_attempt_at, n) WHERE status = 'pending';
CREATE INDEX deliveries_by_task ON deliveries (task_id);
CREATE INDEX deliveries_dead ON deliveries (owner, n) WHERE status = 'dead';
CREATE INDEX deliveries_without_task ON deliveries (seq) WHERE task_id IS NULL;
CREATE INDEX deliveries_by_subscription ON deliveries (subscription_id, n);

-- Calls at the provider doors, redacted; bounded in number, so it needs no index.
CREATE TABLE callbacks (
    n           INTEGER PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    provider    TEXT NOT NULL,
    task_id     TEXT,
    result      TEXT NOT NULL,
    status_code INTEGER NOT NULL,
    detail      TEXT,
    body        TEXT
);
