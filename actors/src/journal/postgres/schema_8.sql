-- A commit need not touch heads: it locks one row of its committer's instead, and whoever takes a shard moves that row.
--
-- Nobody who writes may be at it while the trigger comes. Readers go on.
SET LOCAL lock_timeout = '10s';
LOCK TABLE heads IN SHARE ROW EXCLUSIVE MODE;
SET LOCAL lock_timeout = 0;

-- A row for each committer of each start of a node. `generation` grows with every shard of its `shards` that this start
-- loses, or takes anew: a committer that finds it as it was knows that all is still its own that was. Locked by every
-- commit and hardly ever changed. `shards` has a bit for each shard, set if it is the committer who writes to it while the
-- start has it. `moved_by` is the transaction that changed it last, which need not change it again. A row that is gone
-- never comes back, for a generation must not be there twice.
CREATE TABLE fences (
    incarnation int8 NOT NULL,
    committer int2 NOT NULL,
    shards bit(1024) NOT NULL,
    generation int8 NOT NULL DEFAULT 0,
    moved_by xid8,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (incarnation, committer)
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);

-- Who may change heads writes commits, and makes and moves fences: the role of the nodes need not be that of the migration.
DO $$ DECLARE granted record; BEGIN
    FOR granted IN
        SELECT DISTINCT a.grantee, p.privilege
        FROM pg_class c
        CROSS JOIN LATERAL aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
        CROSS JOIN LATERAL unnest(CASE a.privilege_type
            WHEN 'UPDATE' THEN '{SELECT,INSERT,UPDATE,DELETE}' WHEN 'SELECT' THEN '{SELECT}' ELSE '{}'
        END::text[]) p (privilege)
        WHERE c.oid = 'heads'::regclass
    LOOP
        EXECUTE format('GRANT %s ON fences TO %s', granted.privilege, CASE granted.grantee
            WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(granted.grantee)) END);
    END LOOP;
END $$;

-- Whoever changes who may write to a shard, be it an older build or a person, waits for the statements that write
-- without looking at its head, keeps out those that come after, and then finds how far its log goes: the row of the head
-- itself may be behind. Each statement in here sees what was committed before it began, also what it has waited for,
-- which holds in no other isolation.
--
-- Locks come in one order: heads by shard, then fences. Nobody who holds a fence waits for a head. Whoever is alive loses
-- shards by its own statements, and then only the committer is waited for whose shard it is. From the dead, many take at
-- once, among them older builds, who lock no fences before: each has the fences all at once, in order.
--
-- That there is a trigger before the update costs a lock of every row that is updated, whatever the columns. One that
-- comes after could not say how far the log goes to the statement that takes the shard.
--
-- A build that knows schema 7 writes to its shards by their heads, has no fences, and finds true heads when it takes
-- a shard. Only its feed is late: by what the heads of others are behind, a second at most.
--
-- It acts with the rights of whoever migrates: who takes a shard may be a person who knows of heads only. So it finds its
-- tables where they were made, wherever who takes a shard looks for tables.
CREATE FUNCTION move_fences() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    is_alive bool;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'shards change hands in read committed only' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    IF OLD.incarnation IS NOT NULL THEN
        is_alive := EXISTS (SELECT FROM members WHERE incarnation = OLD.incarnation AND standing <> 'dead');
        PERFORM FROM fences
            WHERE incarnation = OLD.incarnation AND moved_by IS DISTINCT FROM pg_current_xact_id()
                AND (NOT is_alive OR get_bit(shards, OLD.shard) = 1)
            ORDER BY committer FOR NO KEY UPDATE;
        IF FOUND THEN
            UPDATE fences SET generation = generation + 1, moved_by = pg_current_xact_id()
                WHERE incarnation = OLD.incarnation AND (NOT is_alive OR get_bit(shards, OLD.shard) = 1);
        END IF;
    END IF;
    NEW.seq := greatest(NEW.seq, (SELECT e.seq FROM events e WHERE e.shard = NEW.shard ORDER BY e.seq DESC LIMIT 1));
    RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION move_fences() FROM PUBLIC;
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION move_fences() SET search_path = %s, pg_temp', (
        SELECT string_agg(DISTINCT relnamespace::regnamespace::text, ', ') FROM pg_class
        WHERE oid IN ('heads'::regclass, 'events'::regclass, 'fences'::regclass, 'members'::regclass)
    ));
END $$;
CREATE TRIGGER heads_move_fences BEFORE UPDATE OF epoch, owner, incarnation ON heads
    FOR EACH ROW EXECUTE FUNCTION move_fences();
-- Also for a session that leaves triggers out, as what repeats another server's changes does.
ALTER TABLE heads ENABLE ALWAYS TRIGGER heads_move_fences;
