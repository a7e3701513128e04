-- A batch of commits of different entities, in one statement that commits by itself: either all of
-- the accepted ones are durable or none is, and a client that stops half-way holds nothing.
--
-- Comes back with a row per commit: the shard's head (absent: fenced), the version the entity has,
-- and what else stands in its way. Those with `passed` are written.
--
-- Every table but the locked ones is read as it was when the statement began. That is sound because
-- an entity's rows are only written under its shard's head, by statements that come one after the
-- other; what crosses shards (claims, accounts) is locked before it is judged, and where there is
-- nothing to lock yet, a plain insert fails rather than lose a race.
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest(
        $1::int4[], $2::int8[], $3::int2[], $4::uuid[], $5::int8[], $6::int4[], $7::int8[],
        $8::bool[], $9::int8[], $10::uuid[], $11::bytea[], $12::bytea[]
    ) WITH ORDINALITY AS t (
        shard, epoch, kind, id, expected, n_events, at,
        moves_deadline, deadline, command, answer, snapshot, ord
    )
), owned AS MATERIALIZED (
    -- In the order of shards, as every statement that locks heads does: no two wait for each other.
    SELECT h.shard, h.epoch, h.seq
    FROM heads h JOIN (SELECT DISTINCT shard, epoch FROM asked) a
        ON h.shard = a.shard AND h.epoch = a.epoch
    ORDER BY h.shard FOR UPDATE OF h
), event AS MATERIALIZED (
    SELECT * FROM unnest($13::int8[], $14::int4[], $15::text[], $16::bytea[]) AS t (ord, place, name, bytes)
), effect AS MATERIALIZED (
    SELECT * FROM unnest($17::int8[], $18::int4[], $19::bytea[]) AS t (ord, place, bytes)
), want AS MATERIALIZED (
    SELECT * FROM unnest($20::int8[], $21::text[]) AS t (ord, claim)
), held AS MATERIALIZED (
    SELECT c.claim, c.kind, c.id FROM claims c WHERE c.claim = ANY ($21::text[])
    ORDER BY c.claim FOR UPDATE
), posting AS MATERIALIZED (
    SELECT * FROM unnest(
        $24::int8[], $25::int4[], $26::text[], $27::text[], $28::text[], $29::int8[], $30::int8[]
    ) AS t (ord, line, key, account, currency, amount, floor)
), limited AS MATERIALIZED (
    SELECT ord, account, currency, sum(amount) AS amount, max(floor) AS floor
    FROM posting GROUP BY ord, account, currency HAVING max(floor) IS NOT NULL
), purse AS MATERIALIZED (
    SELECT b.account, b.currency, b.amount
    FROM balances b JOIN limited l ON b.account = l.account AND b.currency = l.currency AND b.stripe = 0
    ORDER BY b.account, b.currency FOR UPDATE OF b
), view AS MATERIALIZED (
    SELECT v.*, w.ctid AS place
    FROM unnest($31::int8[], $32::text[], $33::uuid[], $34::uuid[], $35::int8[], $36::text[])
        AS v (ord, status, rider, driver, at, body)
    JOIN asked a ON a.ord = v.ord
    LEFT JOIN views w ON w.kind = a.kind AND w.id = a.id
), judged AS MATERIALIZED (
    SELECT a.*, o.seq AS head, coalesce(e.version, 0) AS actual, e.ctid AS place,
        CASE WHEN a.moves_deadline THEN a.deadline ELSE e.deadline END AS due,
        taken.claim, taken.kind AS holder_kind, taken.id AS holder_id,
        posted.key, poor.account, poor.balance, vast.account AS vast,
        CASE WHEN o.shard IS NOT NULL AND coalesce(e.version, 0) = a.expected AND taken.claim IS NULL
            AND posted.key IS NULL AND poor.account IS NULL AND vast.account IS NULL THEN true END AS passed
    FROM asked a
    LEFT JOIN owned o ON o.shard = a.shard AND o.epoch = a.epoch
    LEFT JOIN entities e ON e.id = a.id AND e.kind = a.kind
    LEFT JOIN (
        SELECT DISTINCT ON (w.ord) w.ord, w.claim, h.kind, h.id
        FROM want w JOIN held h ON h.claim = w.claim JOIN asked b ON b.ord = w.ord
        WHERE (h.kind, h.id) <> (b.kind, b.id) ORDER BY w.ord, w.claim
    ) taken ON taken.ord = a.ord
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
), accepted AS MATERIALIZED (
    SELECT *, head + sum(n_events) OVER (PARTITION BY shard ORDER BY ord) - n_events AS seq
    FROM judged WHERE passed IS NOT NULL
), w_heads AS (
    UPDATE heads h SET seq = h.seq + n.total
    FROM (SELECT shard, sum(n_events) AS total FROM accepted GROUP BY shard) n
    WHERE h.shard = n.shard AND n.total > 0
), w_events AS (
    INSERT INTO events (shard, seq, kind, id, version, epoch, at, command, name, bytes)
    SELECT a.shard, a.seq + e.place, a.kind, a.id, a.expected + e.place, a.epoch, a.at, a.command, e.name, e.bytes
    FROM event e JOIN accepted a ON a.ord = e.ord
), w_entities AS (
    -- Found once, by judging; found again by where it lies. An upsert would look the key up a second
    -- time, past every old version that is not swept up yet. Nobody moves it in between: its shard's
    -- head is ours, and had somebody, the key of the next event would refuse the batch.
    UPDATE entities e SET version = a.expected + a.n_events, deadline = a.due
    FROM accepted a WHERE e.ctid = a.place AND (a.n_events > 0 OR a.moves_deadline)
), w_new_entities AS (
    INSERT INTO entities (id, kind, version, deadline, shard)
    SELECT id, kind, expected + n_events, due, shard FROM accepted
    WHERE place IS NULL AND (n_events > 0 OR moves_deadline)
), w_snapshots AS (
    INSERT INTO snapshots (id, kind, version, bytes)
    SELECT id, kind, expected + n_events, snapshot FROM accepted WHERE snapshot IS NOT NULL
    ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, bytes = excluded.bytes
), w_results AS (
    INSERT INTO results (id, kind, command, at, bytes)
    SELECT id, kind, command, at, answer FROM accepted WHERE answer IS NOT NULL ORDER BY ord
    ON CONFLICT DO NOTHING
), w_outbox AS (
    INSERT INTO outbox (id, kind, version, place, at, bytes, shard)
    SELECT a.id, a.kind, a.expected + a.n_events, e.place, a.at, e.bytes, a.shard
    FROM effect e JOIN accepted a ON a.ord = e.ord ORDER BY e.ord, e.place
), w_released AS (
    DELETE FROM claims c
    USING unnest($22::int8[], $23::text[]) AS r (ord, claim) JOIN accepted a ON a.ord = r.ord
    WHERE c.claim = r.claim AND c.kind = a.kind AND c.id = a.id
        AND NOT EXISTS (SELECT FROM want w WHERE w.ord = r.ord AND w.claim = r.claim)
), w_taken AS (
    INSERT INTO claims (claim, kind, id)
    SELECT w.claim, a.kind, a.id FROM want w JOIN accepted a ON a.ord = w.ord
    WHERE NOT EXISTS (SELECT FROM held h WHERE h.claim = w.claim) ORDER BY w.claim
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
    SELECT p.account, p.currency, $41::int2, sum(p.amount)
    FROM posting p JOIN accepted a ON a.ord = p.ord
    WHERE NOT EXISTS (
        SELECT FROM limited l WHERE l.ord = p.ord AND l.account = p.account AND l.currency = p.currency
    )
    GROUP BY p.account, p.currency ORDER BY p.account, p.currency
    ON CONFLICT (account, currency, stripe) DO UPDATE SET amount = balances.amount + excluded.amount
), w_views AS (
    UPDATE views w SET status = v.status, rider = v.rider, driver = v.driver, at = v.at, body = v.body::json
    FROM view v JOIN accepted a ON a.ord = v.ord WHERE w.ctid = v.place
), w_new_views AS (
    INSERT INTO views (id, kind, status, rider, driver, at, body)
    SELECT a.id, a.kind, v.status, v.rider, v.driver, v.at, v.body::json
    FROM view v JOIN accepted a ON a.ord = v.ord WHERE v.place IS NULL
), w_delivered AS (
    DELETE FROM outbox o USING unnest($37::int2[], $38::uuid[], $39::int8[], $40::int4[]) AS d (kind, id, version, place)
    WHERE o.id = d.id AND o.version = d.version AND o.place = d.place AND o.kind = d.kind
)
SELECT passed, head, actual, claim, holder_kind, holder_id, key, account, balance, vast FROM judged ORDER BY ord
