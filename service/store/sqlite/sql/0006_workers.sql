-- Claims name the worker that holds them, and stand as long as its lease. `worker` 0: nobody has the delivery in hand.

CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO schema_version (version) VALUES (6);

-- AUTOINCREMENT: a number is never given twice.
CREATE TABLE workers (id INTEGER PRIMARY KEY AUTOINCREMENT);

ALTER TABLE deliveries RENAME COLUMN lease_until TO worker;
UPDATE deliveries SET worker = 0 WHERE status = 'pending' AND worker > 0;

-- Canceled here, perhaps still running there: they take a place at the provider until then.
ALTER TABLE tasks ADD COLUMN place_until INTEGER;
CREATE INDEX tasks_lingering ON tasks (provider, place_until) WHERE place_until IS NOT NULL;

-- What the process before this version was sending or holding: its worker is the first one.
INSERT INTO workers (id) SELECT 1 WHERE EXISTS
    (SELECT 1 FROM tasks WHERE finished_at IS NULL AND sent_at IS NOT NULL AND status <> 'unconfirmed');
UPDATE tasks SET state = CAST(json_set(CAST(state AS TEXT), '$.worker', 1) AS BLOB)
    WHERE finished_at IS NULL AND sent_at IS NOT NULL AND status <> 'unconfirmed';
