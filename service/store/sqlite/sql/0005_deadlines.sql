-- What comes next, a check or a deadline, is the first entry of an index, however many tasks are open.

CREATE INDEX tasks_deadline ON tasks (deadline_at) WHERE finished_at IS NULL;
DROP INDEX tasks_open;
CREATE INDEX tasks_open ON tasks (provider, check_at) WHERE finished_at IS NULL AND sent_at IS NOT NULL;
DROP INDEX tasks_queue;
CREATE INDEX tasks_queue ON tasks (provider, owner, id) WHERE status = 'queued' AND sent_at IS NULL;
