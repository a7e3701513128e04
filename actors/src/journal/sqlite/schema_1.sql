-- An entity is 17 bytes: the number of its kind, then its id. Times are milliseconds since 1970.
--
-- Narrow rows that are only ever found by key live in the key's own tree (WITHOUT ROWID): one tree
-- to touch instead of two. Wide rows live in insertion order beside a unique index, which is
-- almost twice as fast when keys arrive in no order.

CREATE TABLE entities (
    entity BLOB PRIMARY KEY,
    version INTEGER NOT NULL,
    deadline INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX entities_by_deadline ON entities (deadline, entity) WHERE deadline IS NOT NULL;

CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    entity BLOB NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    name TEXT NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_entity ON events (entity, version);

CREATE TABLE snapshots (
    position INTEGER PRIMARY KEY,
    entity BLOB NOT NULL,
    version INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX snapshots_by_entity ON snapshots (entity);

-- Grows only at the end, so that `position` says which answer is newer.
CREATE TABLE results (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    entity BLOB NOT NULL,
    command BLOB NOT NULL,
    at INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX results_by_command ON results (entity, command);
CREATE INDEX results_by_age ON results (at);

-- AUTOINCREMENT: a position is never given twice, though delivered rows are deleted.
CREATE TABLE outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    source BLOB NOT NULL,
    version INTEGER NOT NULL,
    place INTEGER NOT NULL,
    at INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX outbox_by_effect ON outbox (source, version, place);

CREATE TABLE claims (
    claim TEXT PRIMARY KEY,
    holder BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE postings (
    position INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    line INTEGER NOT NULL,
    entity BLOB NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    account TEXT NOT NULL,
    currency TEXT NOT NULL,
    amount INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX postings_by_key ON postings (key, line);
CREATE INDEX postings_by_account ON postings (account, currency, amount);
CREATE TRIGGER postings_never_change BEFORE UPDATE ON postings
BEGIN
    SELECT RAISE(ABORT, 'postings never change: post the opposite');
END;
CREATE TRIGGER postings_never_go BEFORE DELETE ON postings
BEGIN
    SELECT RAISE(ABORT, 'postings never go: post the opposite');
END;

CREATE TABLE views (
    position INTEGER PRIMARY KEY,
    entity BLOB NOT NULL,
    kind INTEGER NOT NULL,
    status TEXT NOT NULL,
    rider BLOB,
    driver BLOB,
    at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX views_by_entity ON views (entity);
CREATE INDEX views_by_age ON views (kind, at, entity);
CREATE INDEX views_by_status ON views (kind, status, at, entity);
CREATE INDEX views_by_rider ON views (rider, kind, at, entity) WHERE rider IS NOT NULL;
CREATE INDEX views_by_driver ON views (driver, kind, at, entity) WHERE driver IS NOT NULL;
