-- A commit costs fewer rows, and those it changes are changed in place (HOT).

-- What a commit wants told stands in the row of its last event. All that is wanted up to `told` has
-- been told, or waits in the outbox, where only those are put that would hold `told` back.
ALTER TABLE events ADD COLUMN effects bytea;
ALTER TABLE heads ADD COLUMN told int8 NOT NULL DEFAULT 0;
UPDATE heads SET told = seq;
DROP INDEX outbox_by_effect;
CREATE UNIQUE INDEX outbox_by_effect ON outbox (id, kind, version, place);

-- Deadlines move often, and are read only by who takes over a shard, all of them: so the index says
-- who has one, and not which.
ALTER TABLE entities ADD COLUMN waits bool NOT NULL DEFAULT false;
UPDATE entities SET waits = true WHERE deadline IS NOT NULL;
DROP INDEX entities_by_deadline;
CREATE INDEX entities_waiting ON entities (shard) WHERE waits;

-- Statuses change with almost every new row of a view, so they are listed beside it: a row goes and
-- a row comes, and nothing else is touched.
CREATE TABLE statuses (
    kind int2 NOT NULL,
    status text NOT NULL,
    at int8 NOT NULL,
    id uuid NOT NULL,
    PRIMARY KEY (kind, status, at, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
INSERT INTO statuses (kind, status, at, id) SELECT kind, status, at, id FROM views;
DROP INDEX views_by_status;
-- Written by us and read by us: nobody else need look whether it is JSON.
ALTER TABLE views ALTER COLUMN body TYPE text USING body::text;
ALTER TABLE views SET (fillfactor = 50);
