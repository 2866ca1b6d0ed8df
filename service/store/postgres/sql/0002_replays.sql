-- Replays under way, one for each subscription at most: the next event is the first one after `after`.
CREATE TABLE replays (
    subscription_id text COLLATE "C" PRIMARY KEY,
    after           bigint NOT NULL,
    up_to           bigint NOT NULL,
    types           text[] NOT NULL
);
