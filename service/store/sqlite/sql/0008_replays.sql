-- Replays under way, one for each subscription at most: the next event is the first one after `after`.
CREATE TABLE replays (
    subscription_id TEXT PRIMARY KEY,
    after           INTEGER NOT NULL,
    up_to           INTEGER NOT NULL,
    types           TEXT NOT NULL
) WITHOUT ROWID;
