-- SQLite builds a table for each IN of three words, at every write of a task; comparisons cost it next to nothing.

DROP INDEX tasks_by_status;
CREATE INDEX tasks_by_status ON tasks (status, owner, id)
    WHERE status = 'queued' OR status = 'failed' OR status = 'canceled';
