-- Who takes part in a cluster: a row for each start of a node, renewed in place several times a second,
-- so there is nearly a page for each and nothing indexed changes with a renewal. What a node says of
-- itself is opaque here, but for the formats it reads and writes.
CREATE TABLE members (
    incarnation int8 PRIMARY KEY,
    node text NOT NULL,
    card json NOT NULL,
    reads int4 NOT NULL,
    writes int4 NOT NULL,
    standing text NOT NULL CHECK (standing IN ('up', 'draining', 'dead')),
    hears bool NOT NULL DEFAULT false,
    -- Counted, not timed: who judges uses a clock of its own.
    renewals int8 NOT NULL DEFAULT 0,
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    renewed_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
-- Of one name, at most one is not dead.
CREATE UNIQUE INDEX members_by_node ON members (node) WHERE standing <> 'dead';

-- Shards that somebody wants on a certain node.
CREATE TABLE pins (
    shard int4 PRIMARY KEY,
    node text NOT NULL
);

-- What holds for the whole cluster. `writes`: the newest format that may be written; it only grows, for
-- what was written has to be read for ever.
CREATE TABLE cluster_facts (
    name text PRIMARY KEY,
    value int8 NOT NULL
);
INSERT INTO cluster_facts (name, value) VALUES ('writes', 0);
