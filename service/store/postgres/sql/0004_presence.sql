-- Whether the worker's process holds the lock that says it lives: see presence.py.
ALTER TABLE workers ADD COLUMN present boolean NOT NULL DEFAULT false;
