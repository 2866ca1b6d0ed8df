-- What a callback moves among is in no index by status: completed tasks are found by owner, open ones by `tasks_open`.

DROP INDEX tasks_by_status;
CREATE INDEX tasks_by_status ON tasks (status, owner, id) WHERE status IN ('queued', 'failed', 'canceled');
CREATE INDEX tasks_unconfirmed ON tasks (provider) WHERE status = 'unconfirmed';
DROP INDEX tasks_open;
CREATE INDEX tasks_open ON tasks (provider, check_at, deadline_at)
    WHERE finished_at IS NULL AND sent_at IS NOT NULL;
