-- A batch of commits of different entities, in one statement that commits by itself: either all of
-- the accepted ones are durable or none is, and a client that stops half-way holds nothing.
--
-- Not sent as it stands: `batch.rs` leaves out what a batch does not need. The lines between
-- `--if x` and `--end` are for batches with x, those after `--else` for the others:
--
--   swift      nobody is expected to be refused. The heads are locked by moving them, in one step
--              instead of two, and nothing is asked of the rows one by one. What is found wrong after all takes
--              everything back, before all writes but that of the heads: a division by zero at the end says that
--              not all heads are ours, or that the fence has moved; a word that is no number, that all are, and
--              somebody must be refused. So does a key that is there twice. Then the batch is sent again, not swift.
--   fenced     swift, and the heads are left alone: all of them are known to be ours, how far their logs go is
--              known, and one row says that this is still so (see below)
--   strangers  nobody here remembers which version one of the entities has, so it is looked up
--   claims     somebody takes or gives back a key
--   answers    an answer gets a row of its own: it has no event to stand with, or not everybody looks there yet
--   postings   somebody moves money
--
-- Swift or not, a head is locked, in the order of shards, before its epoch is compared, and what is
-- compared is what was locked. Its row may be behind the log by what fenced statements have added: those who know how
-- far it goes say so ($69), and it goes as far as the one or the other says.
-- What was told is marked as far as that at most: a server that has gone back may have lost what we believe to have told,
-- and what comes to stand there is something else.
--
-- Fenced, the row in `fences` is locked before its generation is compared, and held until the statement is committed.
-- Whoever takes a shard moves that row in the transaction that changes the head, before it looks how far the log goes
-- (`schema_8.sql`): so it waits for us and finds what we have written, or we wait for it and find another generation.
-- Locks come in one order: heads by shard, then fences, then claims and balances. A fenced statement locks no head, so
-- nobody who holds a fence waits for one who waits for it.
--
-- A shard is written to by one committer, statement after statement, each sent when the one before is committed. So
-- whoever sees an event of a shard sees all before it, and those of a statement come all at once: the greatest number
-- that a reader finds in a shard is how far its log goes, for that reader.
--
-- Each row says by whom it is accepted: by its shard if swift, by its commit if not.
--
-- Comes back, if swift, with how far the log of each shard went before, in the order of shards. If not,
-- with a row per commit: the number of its last event in its shard's log, the shard's head (absent:
-- fenced), the version the entity has, and what else stands in its way. Those with `passed` are
-- written.
--
-- Every table but the locked ones is read as it was when the statement began. That is sound because
-- an entity's rows are only written under its shard's head or its committer's fence, by statements that come one after the
-- other; what crosses shards (claims, accounts) is locked before it is judged, and where there is
-- nothing to lock yet, a plain insert fails rather than lose a race.
--
-- Columns are unnested side by side in a SELECT list: in a FROM list each would be put down and taken
-- up again, value by value, at three times the price.
WITH asked AS MATERIALIZED (
    -- Whose version is looked up: if swift, only the strangers'.
    SELECT generate_series(1, cardinality($5::int4[])) AS ord, unnest($5::int4[]) AS shard, unnest($6::int2[]) AS kind,
        unnest($7::uuid[]) AS id, unnest($8::int8[]) AS expected, unnest($9::int4[]) AS n_events
--if swift
--if fenced
), fence AS MATERIALIZED (
    SELECT FROM fences f WHERE f.incarnation = $72 AND f.committer = $68::int2 AND f.generation = $73
    FOR NO KEY UPDATE
), accepted AS MATERIALIZED (
    -- Nobody, if it has moved.
    SELECT unnest($1::int4[]) AS by, unnest($1::int4[]) AS shard, unnest($2::int8[]) AS epoch, unnest($69::int8[]) AS seq
    FROM fence
--else
), accepted AS MATERIALIZED (
    -- In the order of shards, as every statement that locks heads does: no two wait for each other.
    UPDATE heads h SET seq = greatest(h.seq, n.seq) + n.total,
        told = greatest(h.told, least(n.told, greatest(h.seq, n.seq)))
    FROM (
        SELECT unnest($1::int4[]) AS shard, unnest($2::int8[]) AS epoch, unnest($3::int8[]) AS told,
            unnest($4::int4[]) AS total, unnest($69::int8[]) AS seq
        ORDER BY 1
    ) n
    WHERE h.shard = n.shard AND h.epoch = n.epoch
    RETURNING h.shard AS by, h.shard, h.epoch, h.seq - n.total AS seq
--end
--else
), owned AS MATERIALIZED (
    SELECT h.shard, h.epoch, greatest(h.seq, a.seq) AS seq, a.told
    FROM heads h JOIN unnest($1::int4[], $2::int8[], $3::int8[], $69::int8[]) AS a (shard, epoch, told, seq)
        ON h.shard = a.shard AND h.epoch = a.epoch
    ORDER BY h.shard FOR UPDATE OF h
--end
--if claims
), want AS MATERIALIZED (
    SELECT unnest($49::int4[]) AS by, unnest($50::int2[]) AS kind, unnest($51::uuid[]) AS id, unnest($52::text[]) AS claim
), held AS MATERIALIZED (
    SELECT c.claim, c.kind, c.id FROM claims c
    -- After heads, or the fence: nothing else says which comes first.
--if swift
    WHERE c.claim = ANY ($52::text[]) AND (SELECT count(*) FROM accepted) >= 0
--else
    WHERE c.claim = ANY ($52::text[]) AND (SELECT count(*) FROM owned) >= 0
--end
    ORDER BY c.claim FOR UPDATE
), taken AS MATERIALIZED (
    SELECT DISTINCT ON (w.by) w.by, w.claim, h.kind, h.id
    FROM want w JOIN held h ON h.claim = w.claim
    WHERE (h.kind, h.id) <> (w.kind, w.id) ORDER BY w.by, w.claim
--end
--if postings
), posting AS MATERIALIZED (
    SELECT unnest($57::int4[]) AS by, unnest($58::int2[]) AS kind, unnest($59::uuid[]) AS id, unnest($60::int8[]) AS version,
        unnest($61::int8[]) AS at, unnest($62::int4[]) AS line, unnest($63::text[]) AS key, unnest($64::text[]) AS account,
        unnest($65::text[]) AS currency, unnest($66::int8[]) AS amount, unnest($67::int8[]) AS floor
), limited AS MATERIALIZED (
    SELECT by, account, currency, sum(amount) AS amount, max(floor) AS floor
    FROM posting GROUP BY by, account, currency HAVING max(floor) IS NOT NULL
), purse AS MATERIALIZED (
    SELECT b.account, b.currency, b.amount
    FROM balances b JOIN limited l ON b.account = l.account AND b.currency = l.currency AND b.stripe = 0
--if swift
--else
    WHERE (SELECT count(*) FROM owned) >= 0
--end
    ORDER BY b.account, b.currency FOR UPDATE OF b
--end
--if swift
--else
), judged AS MATERIALIZED (
    SELECT a.ord, a.shard, a.n_events, o.epoch, o.seq AS head, coalesce(e.version, 0) AS actual,
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
        SELECT e.version FROM events e WHERE e.shard = a.shard AND e.id = a.id AND e.kind = a.kind
        ORDER BY e.version DESC LIMIT 1
    ) e ON true
--if claims
    LEFT JOIN taken ON taken.by = a.ord
--end
--if postings
    LEFT JOIN (
        SELECT p.by, min(p.key) AS key FROM posting p JOIN postings q ON q.key = p.key AND q.line = 0
        GROUP BY p.by
    ) posted ON posted.by = a.ord
    LEFT JOIN (
        SELECT DISTINCT ON (l.by) l.by, l.account, (coalesce(p.amount, 0) + s.amount)::int8 AS balance
        FROM limited l
        LEFT JOIN purse p ON p.account = l.account AND p.currency = l.currency
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(b.amount), 0) AS amount FROM balances b
            WHERE b.account = l.account AND b.currency = l.currency AND b.stripe <> 0
        ) s
        WHERE coalesce(p.amount, 0) + s.amount + l.amount < l.floor ORDER BY l.by, l.account
    ) poor ON poor.by = a.ord
    LEFT JOIN (
        -- What no account can hold, though a stripe could.
        SELECT p.by, min(p.account) AS account
        FROM (SELECT by, account, currency, sum(amount) AS amount FROM posting GROUP BY 1, 2, 3) p
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(b.amount), 0) AS amount FROM balances b
            WHERE b.account = p.account AND b.currency = p.currency
        ) b
        WHERE abs(p.amount + b.amount) > 9223372036854775807 GROUP BY p.by
    ) vast ON vast.by = a.ord
--end
), accepted AS MATERIALIZED (
    SELECT ord AS by, shard, epoch, n_events,
        head + sum(n_events) OVER (PARTITION BY shard ORDER BY ord) - n_events AS seq
    FROM judged WHERE passed
), w_heads AS (
    UPDATE heads h SET seq = o.seq + n.total, told = greatest(h.told, least(o.told, o.seq))
    FROM (SELECT shard, sum(n_events) AS total FROM accepted GROUP BY shard) n JOIN owned o ON o.shard = n.shard
    WHERE h.shard = n.shard AND n.total > 0
--end
), w_events AS (
    INSERT INTO events (shard, seq, epoch, kind, id, version, at, command, name, bytes, effects, answer)
--if fenced
    -- Where each comes to stand is known.
    SELECT e.by, e.seq, e.epoch,
--else
    SELECT a.shard, a.seq + e.place, a.epoch,
--end
        e.kind, e.id, e.version, e.at, e.command, e.name, e.bytes, e.effects, e.answer
    FROM (
        SELECT unnest($10::int4[]) AS by,
--if fenced
            unnest($70::int8[]) AS seq, unnest($71::int8[]) AS epoch,
--else
            unnest($11::int4[]) AS place,
--end
            unnest($12::int2[]) AS kind, unnest($13::uuid[]) AS id, unnest($14::int8[]) AS version,
            unnest($15::int8[]) AS at, unnest($16::uuid[]) AS command, unnest($17::text[]) AS name,
            unnest($18::bytea[]) AS bytes, unnest($19::bytea[]) AS effects, unnest($20::bytea[]) AS answer
    ) e
--if fenced
--else
    JOIN accepted a ON a.by = e.by
--end
), w_new_entities AS (
    INSERT INTO entities (id, kind, deadline, waits, shard)
--if swift
    SELECT n.id, n.kind, n.deadline, n.deadline IS NOT NULL, n.by
--else
    SELECT n.id, n.kind, n.deadline, n.deadline IS NOT NULL, a.shard
--end
    FROM (
        SELECT unnest($25::int4[]) AS by, unnest($26::int2[]) AS kind, unnest($27::uuid[]) AS id, unnest($28::int8[]) AS deadline
    ) n
--if swift
    -- What is not expected either is that one without events is there already. Looking costs as much again.
--else
    JOIN accepted a ON a.by = n.by ON CONFLICT DO NOTHING
--end
), w_deadlines AS (
    UPDATE entities e SET deadline = d.deadline, waits = d.deadline IS NOT NULL
    FROM (
        SELECT unnest($21::int4[]) AS by, unnest($22::int2[]) AS kind, unnest($23::uuid[]) AS id, unnest($24::int8[]) AS deadline
    ) d
--if swift
--else
    JOIN accepted a ON a.by = d.by
--end
    WHERE e.kind = d.kind AND e.id = d.id
), w_snapshots AS (
    INSERT INTO snapshots (id, kind, version, bytes)
    SELECT s.id, s.kind, s.version, s.bytes
    FROM (
        SELECT unnest($29::int4[]) AS by, unnest($30::int2[]) AS kind, unnest($31::uuid[]) AS id, unnest($32::int8[]) AS version,
            unnest($33::bytea[]) AS bytes
    ) s
--if swift
--else
    JOIN accepted a ON a.by = s.by
--end
    ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, bytes = excluded.bytes
--if answers
), w_results AS (
    INSERT INTO results (id, kind, command, at, position, bytes, version)
    -- One draw for all: it leaves room for as many as a statement can have.
    SELECT r.id, r.kind, r.command, r.at, (SELECT nextval('result_positions')) + r.place, r.bytes, r.version
    FROM (
        SELECT unnest($34::int4[]) AS by, unnest($35::int2[]) AS kind, unnest($36::uuid[]) AS id, unnest($37::uuid[]) AS command,
            unnest($38::int8[]) AS at, unnest($39::bytea[]) AS bytes,
            unnest($40::int8[]) AS version, generate_series(0, cardinality($34::int4[]) - 1) AS place
    ) r
--if swift
--else
    JOIN accepted a ON a.by = r.by
--end
--if swift
    -- Nor that a command has an answer already.
--else
    ON CONFLICT DO NOTHING
--end
--end
), view AS MATERIALIZED (
    SELECT v.*, w.ctid AS place, w.status AS old_status, w.at AS old_at,
        (w.status, w.at) IS DISTINCT FROM (v.status, v.at) AS moves
    FROM (
        SELECT unnest($41::int4[]) AS by, unnest($42::int2[]) AS kind, unnest($43::uuid[]) AS id, unnest($44::text[]) AS status,
            unnest($45::uuid[]) AS rider, unnest($46::uuid[]) AS driver, unnest($47::int8[]) AS at,
            unnest($48::text[]) AS body
    ) v
--if swift
--else
    JOIN accepted a ON a.by = v.by
--end
    LEFT JOIN LATERAL (
        SELECT w.status, w.at, w.ctid FROM views w WHERE w.kind = v.kind AND w.id = v.id LIMIT 1
    ) w ON true
), w_views AS (
    -- Found once, by its key; found again by where it lies. Nobody moves it in between: its shard's
    -- head is ours, and had somebody, the key of the next event would refuse the batch.
    UPDATE views w SET status = v.status, rider = v.rider, driver = v.driver, at = v.at, body = v.body
    FROM view v WHERE w.ctid = v.place
), w_new_views AS (
    INSERT INTO views (id, kind, status, rider, driver, at, body)
    SELECT id, kind, status, rider, driver, at, body FROM view WHERE place IS NULL
), w_statuses AS (
    UPDATE statuses s SET status = v.status, at = v.at
    FROM view v WHERE s.kind = v.kind AND s.status = v.old_status AND s.at = v.old_at AND s.id = v.id AND v.moves
), w_new_statuses AS (
    INSERT INTO statuses (kind, status, at, id) SELECT kind, status, at, id FROM view WHERE place IS NULL
--if claims
), w_released AS (
    DELETE FROM claims c
    USING (
        SELECT unnest($53::int4[]) AS by, unnest($54::int2[]) AS kind, unnest($55::uuid[]) AS id, unnest($56::text[]) AS claim
    ) r JOIN accepted a ON a.by = r.by
    WHERE c.claim = r.claim AND c.kind = r.kind AND c.id = r.id
        AND NOT EXISTS (SELECT FROM want w WHERE w.id = r.id AND w.kind = r.kind AND w.claim = r.claim)
), w_taken AS (
    INSERT INTO claims (claim, kind, id)
    SELECT w.claim, w.kind, w.id FROM want w JOIN accepted a ON a.by = w.by
    WHERE NOT EXISTS (SELECT FROM held h WHERE h.claim = w.claim) ORDER BY w.claim
--end
--if postings
), w_postings AS (
    INSERT INTO postings (key, line, kind, id, version, at, account, currency, amount, floor)
    SELECT p.key, p.line, p.kind, p.id, p.version, p.at, p.account, p.currency, p.amount, p.floor
    FROM posting p JOIN accepted a ON a.by = p.by ORDER BY p.key, p.line
), w_purses AS (
    -- A plain insert: of two who found no stripe 0, the second must fail and look again.
    INSERT INTO balances (account, currency, stripe, amount)
    SELECT l.account, l.currency, 0, l.amount FROM limited l JOIN accepted a ON a.by = l.by
    WHERE NOT EXISTS (SELECT FROM purse p WHERE p.account = l.account AND p.currency = l.currency)
    ORDER BY l.account, l.currency
), w_spent AS (
    UPDATE balances b SET amount = b.amount + l.amount
    FROM limited l JOIN accepted a ON a.by = l.by
    WHERE b.account = l.account AND b.currency = l.currency AND b.stripe = 0
), w_balances AS (
    INSERT INTO balances (account, currency, stripe, amount)
    SELECT p.account, p.currency, $68::int2, sum(p.amount)
    FROM posting p JOIN accepted a ON a.by = p.by
    WHERE NOT EXISTS (
        SELECT FROM limited l WHERE l.by = p.by AND l.account = p.account AND l.currency = p.currency
    )
    GROUP BY p.account, p.currency ORDER BY p.account, p.currency
    ON CONFLICT (account, currency, stripe) DO UPDATE SET amount = balances.amount + excluded.amount
--end
)
--if swift
SELECT array_agg(seq ORDER BY shard) AS seqs, 1 / (count(*) = cardinality($1::int4[]))::int4, (CASE WHEN false
--if claims
    OR EXISTS (SELECT FROM taken)
--end
--if strangers
    OR EXISTS (
        SELECT FROM asked q LEFT JOIN LATERAL (
            SELECT e.version FROM events e WHERE e.shard = q.shard AND e.id = q.id AND e.kind = q.kind
            ORDER BY e.version DESC LIMIT 1
        ) e ON true
        WHERE coalesce(e.version, 0) <> q.expected
    )
--end
    THEN 'somebody must be refused' ELSE '1' END)::int4 FROM accepted
--else
SELECT j.passed, j.head, j.actual, a.seq + a.n_events AS seq,
--if claims
    j.claim, j.holder_kind, j.holder_id,
--end
--if postings
    j.key, j.account, j.balance, j.vast,
--end
    j.ord
FROM judged j LEFT JOIN accepted a ON a.by = j.ord ORDER BY j.ord
--end
