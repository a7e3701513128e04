-- A commit costs a row less, and index entries are smaller.

-- An entity has one shard, hence one part, and what is unique in its part is unique. The id decides almost
-- every comparison, where shard, id, kind and version were compared one after the other; who asks for an
-- entity names its shard all the same, or every part would be looked at.
--
-- All locks first, in the order in which commits take theirs, so that nobody who holds one waits for
-- another. Whoever reads waits too: a constraint that goes needs that in the end, and behind somebody who
-- reads for hours (a backup, an export) everybody else would wait as well. So that one is waited for only
-- briefly, and then the migration gives up before it has done anything.
SET LOCAL lock_timeout = '10s';
LOCK TABLE heads IN EXCLUSIVE MODE;
LOCK TABLE events IN ACCESS EXCLUSIVE MODE;
SET LOCAL lock_timeout = 0;
DO $$ BEGIN
    FOR n IN 0..15 LOOP
        EXECUTE format('CREATE UNIQUE INDEX events_%s_by_entity ON events_%s (id, version, kind)', n, n);
    END LOOP;
END $$;
ALTER TABLE events DROP CONSTRAINT events_by_entity;

-- The answer of a commit that has events stands in the row of its last event, beside the command that it
-- answers. `results` has those of commits without events, those that were imported, and all of them while a
-- build is alive that looks nowhere else. Its `version` is what the entity had after the commit, so that
-- answers of both places have one order; those without one are older than all others.
ALTER TABLE events ADD COLUMN answer bytea;
ALTER TABLE results ADD COLUMN version int8;

-- Events are never changed, so their answers are not deleted: those from before this moment count as
-- forgotten.
INSERT INTO cluster_facts (name, value) VALUES ('answers_since', 0);
