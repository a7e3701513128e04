//! What the arbiter asks of the database. Each commits by itself, so that a node that stops half-way
//! holds nothing; only what changes who is alive takes turns first.
//!
//! Whoever locks heads does so in the order of shards, as commits do, and looks at what it has locked:
//! the conditions are on the locked rows themselves, which Postgres looks at again after it has
//! waited. Fences come after heads: what takes more than one shard locks those of the owners in their order, before
//! the trigger of the first head does (`schema_8.sql`). Who is alive is known as it was when the statement began; at worst a shard is taken from
//! somebody who has just come, whom the new epoch fences.

/// Where everybody listens for changes. Only what changes the picture is told, and never a commit:
/// commits that tell take turns.
pub(super) const CHANNEL: &str = "outrider_cluster";

/// The first half of the session lock that says that an incarnation is connected; the other half is
/// the incarnation.
pub(super) const SESSIONS: i32 = 0x6f75_7472;

/// Takes the session lock; shared, so that a new session need not wait for the end of an old one.
pub(super) const LOCK_SESSION: &str = "SELECT pg_try_advisory_lock_shared($1, $2)";

/// Waits for whoever else changes who is alive, until the transaction ends.
pub(super) const TURN: &str = "SELECT pg_advisory_xact_lock($1)";

/// `$1` and `$2`: which start of which node. `$3` to `$5`: its card, what it reads and writes. Asked again,
/// it changes nothing. Returns how the start stands, and which it has replaced.
///
/// The newcomer is added after its predecessor is counted out: the index wants one of a name.
pub(super) const REGISTER: &str = "
    WITH known AS MATERIALIZED (
        SELECT standing FROM members WHERE incarnation = $1
    ), replaced AS (
        UPDATE members SET standing = 'dead'
        WHERE node = $2 AND standing <> 'dead' AND NOT EXISTS (SELECT FROM known)
        RETURNING incarnation
    ), forgotten AS (
        DELETE FROM members m
        WHERE m.standing = 'dead' AND m.renewed_at < clock_timestamp() - interval '1 day'
            AND m.incarnation <> ALL (ARRAY (SELECT incarnation FROM heads WHERE incarnation IS NOT NULL))
    ), added AS (
        INSERT INTO members (incarnation, node, card, reads, writes, standing)
        SELECT $1, $2, $3::json, $4, $5, 'up' FROM (SELECT count(*) FROM replaced) AS r
        WHERE NOT EXISTS (SELECT FROM known)
        RETURNING standing
    ), raised AS (
        UPDATE cluster_facts SET value = greatest(value, (
            SELECT least(min(reads), max(writes)) FROM (
                SELECT reads, writes FROM members WHERE standing <> 'dead' AND node <> $2
                UNION ALL SELECT $4, $5
            ) alive
        )) WHERE name = 'writes' AND EXISTS (SELECT FROM added)
    ), told AS MATERIALIZED (
        SELECT pg_notify('outrider_cluster', '') FROM added
    )
    SELECT coalesce((SELECT standing FROM added), (SELECT standing FROM known)),
        ARRAY (SELECT incarnation FROM replaced), (SELECT count(*) FROM told)";

/// Says that a start is alive. Returns whether it is.
pub(super) const RENEW: &str = "
    WITH before AS MATERIALIZED (
        SELECT standing, hears FROM members WHERE incarnation = $1
    ), renewed AS (
        UPDATE members SET standing = $2, hears = $3, renewals = renewals + 1, renewed_at = clock_timestamp()
        WHERE incarnation = $1 AND standing <> 'dead' RETURNING standing, hears
    ), told AS MATERIALIZED (
        SELECT pg_notify('outrider_cluster', '') FROM before b, renewed r
        WHERE (b.standing, b.hears) <> (r.standing, r.hears)
    )
    SELECT EXISTS (SELECT FROM renewed), (SELECT count(*) FROM told)";

/// Everything at one moment, in one row: heads as two columns of numbers, the rest as JSON.
pub(super) const LOOK: &str = "
    WITH sessions AS MATERIALIZED (
        SELECT objid::int8 AS incarnation FROM pg_locks
        WHERE locktype = 'advisory' AND objsubid = 2 AND classid::int8 = $1 AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ), owners AS MATERIALIZED (
        SELECT DISTINCT incarnation FROM heads
    )
    SELECT
        (SELECT array_agg(incarnation ORDER BY shard) FROM heads),
        (SELECT array_agg(epoch ORDER BY shard) FROM heads),
        (SELECT coalesce(json_agg(json_build_object(
            'incarnation', m.incarnation, 'card', m.card, 'standing', m.standing, 'hears', m.hears,
            'renewals', m.renewals,
            'age_ms', greatest(0, extract(epoch FROM clock_timestamp() - m.registered_at) * 1000)::int8,
            'has_session', m.standing <> 'dead'
                AND EXISTS (SELECT FROM sessions s WHERE s.incarnation = m.incarnation & 2147483647)
        )), '[]')::text FROM members m
        WHERE m.standing <> 'dead' OR EXISTS (SELECT FROM owners o WHERE o.incarnation = m.incarnation)),
        (SELECT coalesce(json_agg(json_build_object('shard', shard, 'node', node) ORDER BY shard), '[]')::text
        FROM pins),
        (SELECT value FROM cluster_facts WHERE name = 'writes')";

/// Buries `$1`, if it is alive, has not renewed itself since `$2`, and leaves somebody who may be given shards (null: whatever
/// it has done and leaves), on behalf of `$3`. Returns whether that one is alive, and whether `$1` is not.
pub(super) const BURY: &str = "
    WITH judge AS MATERIALIZED (
        SELECT FROM members WHERE incarnation = $3 AND standing <> 'dead'
    ), buried AS (
        UPDATE members SET standing = 'dead'
        WHERE incarnation = $1 AND standing <> 'dead' AND EXISTS (SELECT FROM judge)
            AND ($2::int8 IS NULL OR renewals = $2 AND EXISTS (
                SELECT FROM members h
                WHERE h.incarnation <> $1 AND h.standing = 'up' AND (h.card ->> 'weight')::int8 > 0
            ))
        RETURNING incarnation
    ), raised AS (
        UPDATE cluster_facts SET value = greatest(value, (
            SELECT least(min(reads), max(writes)) FROM members WHERE standing <> 'dead' AND incarnation <> $1
        )) WHERE name = 'writes' AND EXISTS (SELECT FROM buried)
    ), told AS MATERIALIZED (
        SELECT pg_notify('outrider_cluster', '') FROM buried
    )
    SELECT EXISTS (SELECT FROM judge),
        EXISTS (SELECT FROM buried)
            OR NOT EXISTS (SELECT FROM members WHERE incarnation = $1 AND standing <> 'dead'),
        (SELECT count(*) FROM told)";

/// Ends the sessions of one name. A zombie would else hold locks for as long as its network lets it.
pub(super) const TERMINATE: &str = "
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE application_name = $1 AND datname = current_database() AND pid <> pg_backend_pid()";

/// `$1`: those of these shards that are nobody's, or of nobody alive. `$2`, `$3`: for whom. `$4`: now. Returns
/// a row at least: whether the thief is alive, and what it has taken.
pub(super) const STEAL: &str = "
    WITH me AS MATERIALIZED (
        SELECT FROM members WHERE incarnation = $3 AND standing <> 'dead'
    ), l AS MATERIALIZED (
        SELECT h.shard, h.incarnation FROM heads h
        WHERE h.shard = ANY ($1) AND EXISTS (SELECT FROM me)
            AND (h.incarnation = ANY (ARRAY (SELECT incarnation FROM members WHERE standing <> 'dead'))) IS NOT TRUE
        ORDER BY h.shard FOR UPDATE OF h
    ), f AS MATERIALIZED (
        SELECT FROM fences WHERE incarnation = ANY (ARRAY (SELECT incarnation FROM l))
        ORDER BY incarnation, committer FOR NO KEY UPDATE
    ), t AS (
        UPDATE heads h SET owner = $2, incarnation = $3, epoch = h.epoch + 1
        FROM l WHERE h.shard = l.shard AND (SELECT count(*) FROM f) >= 0
        RETURNING h.shard, h.epoch, h.seq
    ), e AS (
        INSERT INTO epochs (shard, epoch, first_seq, owner, incarnation, at)
        SELECT shard, epoch, seq + 1, $2, $3, $4 FROM t
    ), told AS MATERIALIZED (
        SELECT pg_notify('outrider_cluster', '') FROM (SELECT FROM t LIMIT 1) one
    )
    SELECT EXISTS (SELECT FROM me), t.shard, t.epoch, (SELECT count(*) FROM told)
    FROM (SELECT) AS one LEFT JOIN t ON true ORDER BY t.shard";

/// Gives shard `$1`, which `$2` has under epoch `$3`, to `$4`. `$5`: now. The epoch is named so that one who
/// has taken another since, to be sure, is sure. Returns whether the giver is alive and the heir up,
/// whose it was before, and the new epoch if it has one.
pub(super) const HAND_OVER: &str = "
    WITH me AS MATERIALIZED (
        SELECT FROM members WHERE incarnation = $2 AND standing <> 'dead'
    ), heir AS MATERIALIZED (
        SELECT node, incarnation FROM members WHERE incarnation = $4 AND incarnation <> $2 AND standing = 'up'
    ), l AS MATERIALIZED (
        SELECT h.shard FROM heads h
        WHERE h.shard = $1 AND h.incarnation = $2 AND h.epoch = $3
            AND EXISTS (SELECT FROM me) AND EXISTS (SELECT FROM heir)
        FOR UPDATE OF h
    ), t AS (
        UPDATE heads h SET owner = heir.node, incarnation = heir.incarnation, epoch = h.epoch + 1
        FROM l, heir WHERE h.shard = l.shard
        RETURNING h.shard, h.epoch, h.seq, h.owner, h.incarnation
    ), e AS (
        INSERT INTO epochs (shard, epoch, first_seq, owner, incarnation, at)
        SELECT shard, epoch, seq + 1, owner, incarnation, $5 FROM t
    ), told AS MATERIALIZED (
        SELECT pg_notify('outrider_cluster', '') FROM t
    )
    SELECT EXISTS (SELECT FROM me), EXISTS (SELECT FROM heir),
        (SELECT incarnation FROM heads WHERE shard = $1), (SELECT epoch FROM t), (SELECT count(*) FROM told)";

/// Takes a new epoch of shard `$1`, if it is still `$3`'s, called `$2`. `$4`: now. Returns whether the owner is
/// alive, and the epoch.
pub(super) const RECLAIM: &str = "
    WITH me AS MATERIALIZED (
        SELECT FROM members WHERE incarnation = $3 AND standing <> 'dead'
    ), t AS (
        UPDATE heads SET epoch = epoch + 1
        WHERE shard = $1 AND incarnation = $3 AND EXISTS (SELECT FROM me) RETURNING shard, epoch, seq
    ), e AS (
        INSERT INTO epochs (shard, epoch, first_seq, owner, incarnation, at)
        SELECT shard, epoch, seq + 1, $2, $3, $4 FROM t
    )
    SELECT EXISTS (SELECT FROM me), (SELECT epoch FROM t)";

/// Gives those of the shards `$1` that are `$2`'s to nobody. The epoch stays: whoever takes them begins a
/// new one. Returns whether the giver is alive.
pub(super) const RELEASE: &str = "
    WITH me AS MATERIALIZED (
        SELECT FROM members WHERE incarnation = $2 AND standing <> 'dead'
    ), l AS MATERIALIZED (
        SELECT h.shard FROM heads h
        WHERE h.shard = ANY ($1) AND h.incarnation = $2 AND EXISTS (SELECT FROM me)
        ORDER BY h.shard FOR UPDATE OF h
    ), f AS MATERIALIZED (
        SELECT FROM fences WHERE incarnation = $2 AND (SELECT count(*) FROM l) > 0
        ORDER BY committer FOR NO KEY UPDATE
    ), t AS (
        UPDATE heads h SET owner = NULL, incarnation = NULL
        FROM l WHERE h.shard = l.shard AND (SELECT count(*) FROM f) >= 0 RETURNING h.shard
    ), told AS MATERIALIZED (
        SELECT pg_notify('outrider_cluster', '') FROM (SELECT FROM t LIMIT 1) one
    )
    SELECT EXISTS (SELECT FROM me), (SELECT count(*) FROM told)";

/// Wants shard `$1` on node `$2`, or on none (null); not on behalf of a dead `$3`. Returns whether it is alive.
pub(super) const PIN: &str = "
    WITH dead AS MATERIALIZED (
        SELECT FROM members WHERE incarnation = $3 AND standing = 'dead'
    ), taken_out AS (
        DELETE FROM pins WHERE shard = $1 AND $2::text IS NULL AND NOT EXISTS (SELECT FROM dead)
    ), put AS (
        INSERT INTO pins (shard, node) SELECT $1, $2 WHERE $2::text IS NOT NULL AND NOT EXISTS (SELECT FROM dead)
        ON CONFLICT (shard) DO UPDATE SET node = excluded.node
    ), told AS MATERIALIZED (
        SELECT pg_notify('outrider_cluster', '') WHERE NOT EXISTS (SELECT FROM dead)
    )
    SELECT NOT EXISTS (SELECT FROM dead), (SELECT count(*) FROM told)";
