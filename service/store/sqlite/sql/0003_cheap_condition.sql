-- SQLite builds a table for each IN of three words, at every write of a task; comparisons cost it next to nothing.
-- Not "= 'queued' OR ...": any query for queued tasks would fit that, and leave `tasks_queue` for this wider index.

DROP INDEX tasks_by_status;
CREATE INDEX tasks_by_status ON tasks (status, owner, id)
    WHERE status <> 'completed' AND status <> 'processing' AND status <> 'submitted' AND status <> 'unconfirmed';
