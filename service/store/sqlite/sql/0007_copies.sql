-- Copies of result files: what is to be copied, and where what was copied is. Times are milliseconds.

CREATE TABLE copies (
    task_id         TEXT NOT NULL,
    position        INTEGER NOT NULL,
    url             TEXT NOT NULL,
    kind            TEXT NOT NULL,
    expires_at      INTEGER,
    created_at      INTEGER NOT NULL,
    status          TEXT NOT NULL DEFAULT 'pending',
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER NOT NULL,
    worker          INTEGER NOT NULL DEFAULT 0,
    name            TEXT,
    content_type    TEXT,
    bytes           INTEGER,
    sha256          TEXT,
    inline_name     TEXT,
    PRIMARY KEY (task_id, position)
) WITHOUT ROWID;
-- The row is the queue, as with deliveries.
CREATE INDEX copies_queue ON copies (worker, next_attempt_at) WHERE status = 'pending';
CREATE INDEX copies_inline ON copies (inline_name) WHERE inline_name IS NOT NULL;

-- Tasks that were removed and whose copies are still to be deleted.
CREATE TABLE copy_removals (n INTEGER PRIMARY KEY, task_id TEXT NOT NULL);
