-- What tasks are searched by: of their metadata the text that a query is compared with, of long text the beginning.
-- Written with the task and removed with it, so that a callback has nothing to do here.

CREATE TABLE task_metadata (
    task_id TEXT NOT NULL,
    key     TEXT NOT NULL,
    value   TEXT NOT NULL,
    owner   TEXT NOT NULL,
    PRIMARY KEY (task_id, key, value)
) WITHOUT ROWID;
-- The same as in service/store/metadata.py.
INSERT OR IGNORE INTO task_metadata (task_id, key, value, owner)
SELECT
    tasks.id,
    substr(m.key, 1, 200),
    substr(
        CASE m.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' WHEN 'null' THEN 'null'
        ELSE CAST(m.value AS TEXT) END, 1, 200
    ),
    tasks.owner
FROM tasks, json_each(CAST(tasks.state AS TEXT), '$.metadata') m;
CREATE INDEX task_metadata_by_value ON task_metadata (owner, key, value, task_id);

-- True of every task: a query that does not say it keeps the index that it has, such as `tasks_queue`.
CREATE INDEX tasks_by_provider ON tasks (owner, provider, id) WHERE provider <> '';
