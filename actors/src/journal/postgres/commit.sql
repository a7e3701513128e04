-- A batch of commits of different entities, in one statement that commits by itself: either all of
-- the accepted ones are durable or none is, and a client that stops half-way holds nothing.
--
-- Not sent as it stands: `batch.rs` leaves out what a batch does not need. The lines between
-- `--if x` and `--end` are for batches with x, those after `--else` for the others:
--
--   swift      nobody is expected to be refused. The heads are locked by moving them, in one step
--              instead of two, and if anyone must be refused after all, the division by zero at the
--              end takes everything back. Then the batch is sent again, not swift.
--   claims     somebody takes or gives back a key
--   postings   somebody moves money
--
-- Swift or not, a head is locked, in the order of shards, before its epoch is compared, and what is
-- compared is what was locked.
--
-- Comes back with a row per commit: the number of its last event in its shard's log; if not swift,
-- also the shard's head (absent: fenced), the version the entity has, and what else stands in its
-- way. Those with `passed` are written.
--
-- Every table but the locked ones is read as it was when the statement began. That is sound because
-- an entity's rows are only written under its shard's head, by statements that come one after the
-- other; what crosses shards (claims, accounts) is locked before it is judged, and where there is
-- nothing to lock yet, a plain insert fails rather than lose a race.
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest(
        $5::int4[], $6::int2[], $7::uuid[], $8::int8[], $9::int4[], $10::int4[], $11::int8[], $12::bool[], $13::int8[]
    ) WITH ORDINALITY AS t (shard, kind, id, expected, n_events, n_before, at, moves_deadline, deadline, ord)
), owned AS (
    -- In the order of shards, as every statement that locks heads does: no two wait for each other.
--if swift
    UPDATE heads h SET seq = h.seq + n.total, told = greatest(h.told, n.told)
    FROM (
        SELECT * FROM unnest($1::int4[], $2::int8[], $3::int8[], $4::int4[]) AS m (shard, epoch, told, total)
        ORDER BY shard
    ) n
    WHERE h.shard = n.shard AND h.epoch = n.epoch
    RETURNING h.shard, h.epoch, h.seq - n.total AS seq
--else
    SELECT h.shard, h.epoch, h.seq, a.told
    FROM heads h JOIN unnest($1::int4[], $2::int8[], $3::int8[]) AS a (shard, epoch, told)
        ON h.shard = a.shard AND h.epoch = a.epoch
    ORDER BY h.shard FOR UPDATE OF h
--end
--if claims
), want AS MATERIALIZED (
    SELECT * FROM unnest($31::int8[], $32::text[]) AS t (ord, claim)
), held AS MATERIALIZED (
    SELECT c.claim, c.kind, c.id FROM claims c WHERE c.claim = ANY ($32::text[])
    ORDER BY c.claim FOR UPDATE
--end
--if postings
), posting AS MATERIALIZED (
    SELECT * FROM unnest(
        $35::int8[], $36::int4[], $37::text[], $38::text[], $39::text[], $40::int8[], $41::int8[]
    ) AS t (ord, line, key, account, currency, amount, floor)
), limited AS MATERIALIZED (
    SELECT ord, account, currency, sum(amount) AS amount, max(floor) AS floor
    FROM posting GROUP BY ord, account, currency HAVING max(floor) IS NOT NULL
), purse AS MATERIALIZED (
    SELECT b.account, b.currency, b.amount
    FROM balances b JOIN limited l ON b.account = l.account AND b.currency = l.currency AND b.stripe = 0
    ORDER BY b.account, b.currency FOR UPDATE OF b
--end
--if swift
), accepted AS MATERIALIZED (
    SELECT a.*, o.epoch, o.seq + a.n_before AS seq,
--else
), judged AS MATERIALIZED (
    SELECT a.*, o.epoch, o.seq AS head,
--end
    coalesce(e.version, 0) AS actual, e.ctid AS place,
        CASE WHEN a.moves_deadline THEN a.deadline ELSE e.deadline END AS due,
--if claims
        taken.claim, taken.kind AS holder_kind, taken.id AS holder_id,
--end
--if postings
        posted.key, poor.account, poor.balance, vast.account AS vast,
--end
        (
            o.shard IS NOT NULL AND coalesce(e.version, 0) = a.expected
--if claims
            AND taken.claim IS NULL
--end
--if postings
            AND posted.key IS NULL AND poor.account IS NULL AND vast.account IS NULL
--end
        ) AS passed
    FROM asked a
    LEFT JOIN owned o ON o.shard = a.shard
    -- One by one, whatever the planner thinks of how many there are: it plans once, and they grow.
    LEFT JOIN LATERAL (
        SELECT e.version, e.deadline, e.ctid FROM entities e WHERE e.kind = a.kind AND e.id = a.id LIMIT 1
    ) e ON true
--if claims
    LEFT JOIN (
        SELECT DISTINCT ON (w.ord) w.ord, w.claim, h.kind, h.id
        FROM want w JOIN held h ON h.claim = w.claim JOIN asked b ON b.ord = w.ord
        WHERE (h.kind, h.id) <> (b.kind, b.id) ORDER BY w.ord, w.claim
    ) taken ON taken.ord = a.ord
--end
--if postings
    LEFT JOIN (
        SELECT p.ord, min(p.key) AS key FROM posting p JOIN postings q ON q.key = p.key AND q.line = 0
        GROUP BY p.ord
    ) posted ON posted.ord = a.ord
    LEFT JOIN (
        SELECT DISTINCT ON (l.ord) l.ord, l.account, (coalesce(p.amount, 0) + s.amount)::int8 AS balance
        FROM limited l
        LEFT JOIN purse p ON p.account = l.account AND p.currency = l.currency
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(b.amount), 0) AS amount FROM balances b
            WHERE b.account = l.account AND b.currency = l.currency AND b.stripe <> 0
        ) s
        WHERE coalesce(p.amount, 0) + s.amount + l.amount < l.floor ORDER BY l.ord, l.account
    ) poor ON poor.ord = a.ord
    LEFT JOIN (
        -- What no account can hold, though a stripe could.
        SELECT p.ord, min(p.account) AS account
        FROM (SELECT ord, account, currency, sum(amount) AS amount FROM posting GROUP BY 1, 2, 3) p
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(b.amount), 0) AS amount FROM balances b
            WHERE b.account = p.account AND b.currency = p.currency
        ) b
        WHERE abs(p.amount + b.amount) > 9223372036854775807 GROUP BY p.ord
    ) vast ON vast.ord = a.ord
--end
--if swift
--else
), accepted AS MATERIALIZED (
    SELECT *, head + sum(n_events) OVER (PARTITION BY shard ORDER BY ord) - n_events AS seq
    FROM judged WHERE passed
), w_heads AS (
    UPDATE heads h SET seq = h.seq + n.total, told = greatest(h.told, o.told)
    FROM (SELECT shard, sum(n_events) AS total FROM accepted GROUP BY shard) n JOIN owned o ON o.shard = n.shard
    WHERE h.shard = n.shard AND n.total > 0
--end
), w_events AS (
    INSERT INTO events (shard, seq, kind, id, version, epoch, at, command, name, bytes, effects)
    SELECT a.shard, a.seq + e.place, a.kind, a.id, a.expected + e.place, a.epoch, a.at, e.command, e.name, e.bytes, e.effects
    FROM unnest($14::int8[], $15::int4[], $16::text[], $17::bytea[], $18::uuid[], $19::bytea[])
        AS e (ord, place, name, bytes, command, effects)
    JOIN accepted a ON a.ord = e.ord
), w_entities AS (
    -- Found once, by judging; found again by where it lies. An upsert would look the key up a second
    -- time, past every old version that is not swept up yet. Nobody moves it in between: its shard's
    -- head is ours, and had somebody, the key of the next event would refuse the batch.
    UPDATE entities e SET version = a.expected + a.n_events, deadline = a.due, waits = a.due IS NOT NULL
    FROM accepted a WHERE e.ctid = a.place AND (a.n_events > 0 OR a.moves_deadline)
), w_new_entities AS (
    INSERT INTO entities (id, kind, version, deadline, waits, shard)
    SELECT id, kind, expected + n_events, due, due IS NOT NULL, shard FROM accepted
    WHERE place IS NULL AND (n_events > 0 OR moves_deadline)
), w_snapshots AS (
    INSERT INTO snapshots (id, kind, version, bytes)
    SELECT a.id, a.kind, a.expected + a.n_events, s.bytes
    FROM unnest($23::int8[], $24::bytea[]) AS s (ord, bytes) JOIN accepted a ON a.ord = s.ord
    ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, bytes = excluded.bytes
), w_results AS (
    INSERT INTO results (id, kind, command, at, bytes)
    SELECT a.id, a.kind, r.command, a.at, r.bytes
    FROM unnest($20::int8[], $21::uuid[], $22::bytea[]) AS r (ord, command, bytes) JOIN accepted a ON a.ord = r.ord
--if swift
    -- That a command has an answer already is not expected either, and looking first costs as much again.
--else
    ORDER BY r.ord ON CONFLICT DO NOTHING
--end
), view AS MATERIALIZED (
    SELECT v.*, a.kind, a.id, w.ctid AS place, w.status AS old_status, w.at AS old_at,
        (w.status, w.at) IS DISTINCT FROM (v.status, v.at) AS moves
    FROM unnest($25::int8[], $26::text[], $27::uuid[], $28::uuid[], $29::int8[], $30::text[])
        AS v (ord, status, rider, driver, at, body)
    JOIN accepted a ON a.ord = v.ord
    LEFT JOIN LATERAL (
        SELECT w.status, w.at, w.ctid FROM views w WHERE w.kind = a.kind AND w.id = a.id LIMIT 1
    ) w ON true
), w_views AS (
    UPDATE views w SET status = v.status, rider = v.rider, driver = v.driver, at = v.at, body = v.body
    FROM view v WHERE w.ctid = v.place
), w_new_views AS (
    INSERT INTO views (id, kind, status, rider, driver, at, body)
    SELECT id, kind, status, rider, driver, at, body FROM view WHERE place IS NULL
), w_left AS (
    DELETE FROM statuses s USING view v
    WHERE s.kind = v.kind AND s.status = v.old_status AND s.at = v.old_at AND s.id = v.id AND v.moves
), w_entered AS (
    INSERT INTO statuses (kind, status, at, id) SELECT kind, status, at, id FROM view WHERE moves
--if claims
), w_released AS (
    DELETE FROM claims c
    USING unnest($33::int8[], $34::text[]) AS r (ord, claim) JOIN accepted a ON a.ord = r.ord
    WHERE c.claim = r.claim AND c.kind = a.kind AND c.id = a.id
        AND NOT EXISTS (SELECT FROM want w WHERE w.ord = r.ord AND w.claim = r.claim)
), w_taken AS (
    INSERT INTO claims (claim, kind, id)
    SELECT w.claim, a.kind, a.id FROM want w JOIN accepted a ON a.ord = w.ord
    WHERE NOT EXISTS (SELECT FROM held h WHERE h.claim = w.claim) ORDER BY w.claim
--end
--if postings
), w_postings AS (
    INSERT INTO postings (key, line, kind, id, version, at, account, currency, amount, floor)
    SELECT p.key, p.line, a.kind, a.id, a.expected + a.n_events, a.at, p.account, p.currency, p.amount, p.floor
    FROM posting p JOIN accepted a ON a.ord = p.ord ORDER BY p.key, p.line
), w_purses AS (
    -- A plain insert: of two who found no stripe 0, the second must fail and look again.
    INSERT INTO balances (account, currency, stripe, amount)
    SELECT l.account, l.currency, 0, l.amount FROM limited l JOIN accepted a ON a.ord = l.ord
    WHERE NOT EXISTS (SELECT FROM purse p WHERE p.account = l.account AND p.currency = l.currency)
    ORDER BY l.account, l.currency
), w_spent AS (
    UPDATE balances b SET amount = b.amount + l.amount
    FROM limited l JOIN accepted a ON a.ord = l.ord
    WHERE b.account = l.account AND b.currency = l.currency AND b.stripe = 0
), w_balances AS (
    INSERT INTO balances (account, currency, stripe, amount)
    SELECT p.account, p.currency, $42::int2, sum(p.amount)
    FROM posting p JOIN accepted a ON a.ord = p.ord
    WHERE NOT EXISTS (
        SELECT FROM limited l WHERE l.ord = p.ord AND l.account = p.account AND l.currency = p.currency
    )
    GROUP BY p.account, p.currency ORDER BY p.account, p.currency
    ON CONFLICT (account, currency, stripe) DO UPDATE SET amount = balances.amount + excluded.amount
--end
)
--if swift
SELECT seq + n_events / passed::int4 AS seq FROM accepted ORDER BY ord
--else
SELECT j.passed, j.head, j.actual, a.seq + a.n_events AS seq,
--if claims
    j.claim, j.holder_kind, j.holder_id,
--end
--if postings
    j.key, j.account, j.balance, j.vast,
--end
    j.ord
FROM judged j LEFT JOIN accepted a ON a.ord = j.ord ORDER BY j.ord
--end
