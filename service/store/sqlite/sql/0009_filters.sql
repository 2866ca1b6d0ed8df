-- What lists are filtered by leads an index, and a list of many lists is merged from them: `event_search.py`,
-- `delivery_search.py`. None of these indexes is one more: each takes the place of another.

DROP INDEX events_by_owner;
CREATE INDEX events_by_owner ON events (owner, type, seq);
DROP INDEX deliveries_by_subscription;
CREATE INDEX deliveries_by_owner ON deliveries (owner, subscription_id, n);

-- Written seldom.
CREATE INDEX subscriptions_by_owner ON subscriptions (owner, id);
