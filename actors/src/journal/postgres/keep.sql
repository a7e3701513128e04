-- Puts something on a shelf, in the place of what was there. Fenced as commits are: the head is locked, then its epoch compared
-- with what was locked, so that nobody can take the shard before this is written. Comes back with a row if it was.
WITH owned AS MATERIALIZED (
    SELECT h.shard, h.epoch FROM heads h WHERE h.shard = $1 AND h.epoch = $2 FOR UPDATE OF h
)
INSERT INTO shelves AS s (shard, name, epoch, bytes)
SELECT o.shard, $3, o.epoch, $4 FROM owned o
ON CONFLICT (shard, name) DO UPDATE SET epoch = excluded.epoch, bytes = excluded.bytes WHERE s.epoch <= excluded.epoch
RETURNING 1
