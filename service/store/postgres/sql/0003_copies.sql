-- Copies of result files: what is to be copied, and where what was copied is. Times are milliseconds.

CREATE TABLE copies (
    task_id         text COLLATE "C" NOT NULL,
    position        integer NOT NULL,
    url             text NOT NULL,
    kind            text NOT NULL,
    expires_at      bigint,
    created_at      bigint NOT NULL,
    status          text COLLATE "C" NOT NULL DEFAULT 'pending',
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at bigint NOT NULL,
    worker          bigint NOT NULL DEFAULT 0,
    name            text,
    content_type    text,
    bytes           bigint,
    sha256          text,
    inline_name     text COLLATE "C",
    PRIMARY KEY (task_id, position)
) WITH (fillfactor = 80);
-- The row is the queue, as with deliveries.
CREATE INDEX copies_queue ON copies (next_attempt_at) WHERE status = 'pending' AND worker = 0;
CREATE INDEX copies_in_hand ON copies (worker) WHERE status = 'pending' AND worker > 0;
CREATE INDEX copies_inline ON copies (inline_name) WHERE inline_name IS NOT NULL;

-- Tasks that were removed and whose copies are still to be deleted.
CREATE TABLE copy_removals (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, task_id text COLLATE "C" NOT NULL);
CREATE INDEX copy_removals_by_task ON copy_removals (task_id);
