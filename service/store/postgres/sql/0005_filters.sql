-- What lists are filtered by leads an index. An update of `status` is in every index anyway, since it leaves the queue's.

DROP INDEX deliveries_dead;
CREATE INDEX deliveries_by_owner ON deliveries (owner, status, n);
DROP INDEX deliveries_by_subscription;
CREATE INDEX deliveries_by_subscription ON deliveries (subscription_id, status, n);
