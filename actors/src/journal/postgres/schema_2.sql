-- What waits (deadlines, effects) is read shard by shard, by whoever owns the shard.
--
-- `shards_of` is a temporary table that says which shard each entity belongs to: SQL cannot hash
-- ids as the platform does.

ALTER TABLE entities ADD COLUMN shard int4;
UPDATE entities e SET shard = s.shard FROM shards_of s WHERE s.kind = e.kind AND s.id = e.id;
ALTER TABLE entities ALTER COLUMN shard SET NOT NULL;
DROP INDEX entities_by_deadline;
CREATE INDEX entities_by_deadline ON entities (shard, deadline, kind, id) WHERE deadline IS NOT NULL;

ALTER TABLE outbox ADD COLUMN shard int4;
UPDATE outbox o SET shard = s.shard FROM shards_of s WHERE s.kind = o.kind AND s.id = o.id;
ALTER TABLE outbox ALTER COLUMN shard SET NOT NULL;
