-- Marks how far each shard has told and, since commits may leave the heads alone, how far its log goes; puts
-- in the outbox what holds a mark back, and forgets what was told of what is there. Fenced as commits that
-- look at heads are: those are locked in order, then their epochs compared. Comes back with the shards that
-- are still ours, and what now stands in their heads: that may be less than what was to be marked.
WITH owned AS MATERIALIZED (
    SELECT h.shard, m.told, m.seq
    FROM heads h JOIN unnest($1::int4[], $2::int8[], $3::int8[], $15::int8[]) AS m (shard, epoch, told, seq)
        ON h.shard = m.shard AND h.epoch = m.epoch
    ORDER BY h.shard FOR UPDATE OF h
), late AS (
    INSERT INTO outbox (shard, kind, id, version, place, at, bytes)
    SELECT l.shard, l.kind, l.id, l.version, l.place, l.at, l.bytes
    FROM unnest($4::int4[], $5::int2[], $6::uuid[], $7::int8[], $8::int4[], $9::int8[], $10::bytea[])
        WITH ORDINALITY AS l (shard, kind, id, version, place, at, bytes, ord)
    JOIN owned o ON o.shard = l.shard ORDER BY l.ord
    ON CONFLICT DO NOTHING
), gone AS (
    DELETE FROM outbox o
    USING unnest($11::int2[], $12::uuid[], $13::int8[], $14::int4[]) AS d (kind, id, version, place)
    WHERE o.id = d.id AND o.kind = d.kind AND o.version = d.version AND o.place = d.place
)
-- A log goes so far if there is such an event, and not because somebody says so: from there the next one would go on, and
-- what would be marked as told already would be told to nobody.
UPDATE heads h SET told = greatest(h.told, least(o.told, greatest(h.seq, e.seq))), seq = greatest(h.seq, e.seq)
FROM owned o LEFT JOIN LATERAL (
    SELECT e.seq FROM events e WHERE e.shard = o.shard AND e.seq = o.seq LIMIT 1
) e ON true
WHERE h.shard = o.shard
RETURNING h.shard, h.epoch, h.told, h.seq
