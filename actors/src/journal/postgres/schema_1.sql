-- Times are milliseconds since 1970. An entity is the number of its kind and its id.
--
-- What decides the fillfactors: a row that is updated in place over and over (HOT) needs room on its
-- page for the next version; a row that is only ever inserted needs none.

-- Who may write to a shard (owner, epoch), and how far its log goes (seq). The fence: every commit
-- locks the heads it writes under, and adds to their seq. 1,024 rows that are updated by every
-- batch: ten to a page, so that every update finds room beside itself.
CREATE TABLE heads (
    shard int4 PRIMARY KEY,
    owner text,
    incarnation int8,
    epoch int8 NOT NULL DEFAULT 0,
    seq int8 NOT NULL DEFAULT 0
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_scale_factor = 0);
INSERT INTO heads (shard) SELECT generate_series(0, 1023);

-- What every start of a node is numbered with.
CREATE SEQUENCE incarnations;

-- When an epoch began: events of `epoch` have seq >= first_seq, those of the ones before have less.
-- Never changed, read by the checker only.
CREATE TABLE epochs (
    shard int4 NOT NULL,
    epoch int8 NOT NULL,
    first_seq int8 NOT NULL,
    owner text NOT NULL,
    incarnation int8 NOT NULL,
    at int8 NOT NULL,
    PRIMARY KEY (shard, epoch)
);

-- The log. Sixteen parts, so that no index outgrows memory and vacuum has small pieces; by shard, so
-- that a shard's log is read from one of them. The second index is how an entity is loaded, and the
-- second belt against a fork.
CREATE TABLE events (
    shard int4 NOT NULL,
    seq int8 NOT NULL,
    kind int2 NOT NULL,
    id uuid NOT NULL,
    version int8 NOT NULL,
    epoch int8 NOT NULL,
    at int8 NOT NULL,
    command uuid,
    name text NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (shard, seq),
    CONSTRAINT events_by_entity UNIQUE (shard, id, kind, version)
) PARTITION BY HASH (shard);
DO $$ BEGIN
    FOR n IN 0..15 LOOP
        EXECUTE format('CREATE TABLE events_%s PARTITION OF events FOR VALUES WITH (MODULUS 16, REMAINDER %s)
            WITH (autovacuum_vacuum_insert_scale_factor = 0.05)', n, n);
    END LOOP;
END $$;

-- The version an entity must still have, and when it wants to be woken. One update per commit: half
-- a page stays free. A changed deadline costs an index entry, an unchanged one nothing.
CREATE TABLE entities (
    id uuid NOT NULL,
    kind int2 NOT NULL,
    version int8 NOT NULL,
    deadline int8,
    PRIMARY KEY (kind, id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX entities_by_deadline ON entities (deadline, kind, id) WHERE deadline IS NOT NULL;

-- The newest state of an entity. Already compact, so not worth compressing.
CREATE TABLE snapshots (
    id uuid NOT NULL,
    kind int2 NOT NULL,
    version int8 NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (kind, id)
) WITH (fillfactor = 50);
ALTER TABLE snapshots ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- First answers to commands, for a day: by day, so that forgetting is dropping a table. An index
-- over all days could not know one command by itself, so each day has its own unique index.
CREATE SEQUENCE result_positions;
CREATE TABLE results (
    id uuid NOT NULL,
    kind int2 NOT NULL,
    command uuid NOT NULL,
    at int8 NOT NULL,
    position int8 NOT NULL DEFAULT nextval('result_positions'),
    bytes bytea NOT NULL
) PARTITION BY RANGE (at);
CREATE TABLE results_else PARTITION OF results DEFAULT;
CREATE UNIQUE INDEX results_else_by_command ON results_else (id, kind, command);

-- What waits to be told. A queue that is nearly empty: vacuumed often, so that it stays small.
CREATE SEQUENCE outbox_positions;
CREATE TABLE outbox (
    position int8 PRIMARY KEY DEFAULT nextval('outbox_positions'),
    id uuid NOT NULL,
    kind int2 NOT NULL,
    version int8 NOT NULL,
    place int4 NOT NULL,
    at int8 NOT NULL,
    bytes bytea NOT NULL
) WITH (autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0);
CREATE UNIQUE INDEX outbox_by_effect ON outbox (id, version, place, kind);

-- Keys that at most one entity holds.
CREATE TABLE claims (
    claim text COLLATE "C" PRIMARY KEY,
    kind int2 NOT NULL,
    id uuid NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

-- The ledger: for ever, and never changed.
CREATE TABLE postings (
    key text COLLATE "C" NOT NULL,
    line int4 NOT NULL,
    kind int2 NOT NULL,
    id uuid NOT NULL,
    version int8 NOT NULL,
    at int8 NOT NULL,
    account text NOT NULL,
    currency text NOT NULL,
    amount int8 NOT NULL,
    floor int8,
    PRIMARY KEY (key, line)
);
CREATE INDEX postings_by_account ON postings (account, currency, at);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION '% is written once: add what corrects it', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER postings_stay BEFORE UPDATE OR DELETE ON postings
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER postings_all_stay BEFORE TRUNCATE ON postings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER events_stay BEFORE UPDATE OR DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER events_all_stay BEFORE TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION refuse_imbalance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE fact record;
BEGIN
    -- What is imported comes in pages that may cut a fact in two; the checker adds it up afterwards.
    IF current_setting('outrider.restoring', true) = 'on' THEN RETURN NULL; END IF;
    SELECT key, currency, sum(amount) AS total INTO fact FROM added
        GROUP BY key, currency HAVING sum(amount) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% sums to % %, not to zero', fact.key, fact.total, fact.currency
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER postings_balance AFTER INSERT ON postings REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_imbalance();

-- Sums of postings. Each committer has a stripe of its own, so that an account everyone pays into
-- does not make them wait for each other's disk write. What must not fall below a floor goes to
-- stripe 0, which is locked before it is judged.
CREATE TABLE balances (
    account text NOT NULL,
    currency text NOT NULL,
    stripe int2 NOT NULL,
    -- Wider than what accounts hold, for one stripe may have much that another lacks.
    amount numeric NOT NULL,
    PRIMARY KEY (account, currency, stripe)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

-- What lists show. Statuses are indexed and change, so updates are never in place.
CREATE TABLE views (
    id uuid NOT NULL,
    kind int2 NOT NULL,
    status text NOT NULL,
    rider uuid,
    driver uuid,
    at int8 NOT NULL,
    body json NOT NULL,
    PRIMARY KEY (kind, id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX views_by_age ON views (kind, at, id);
CREATE INDEX views_by_status ON views (kind, status, at, id);
CREATE INDEX views_by_rider ON views (rider, kind, at, id) WHERE rider IS NOT NULL;
CREATE INDEX views_by_driver ON views (driver, kind, at, id) WHERE driver IS NOT NULL;
