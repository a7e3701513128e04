-- Every event gets a number in the log of its shard, and the ownership and command that wrote it.
--
-- `shards_of` is a temporary table that says which shard each entity belongs to: SQL cannot hash
-- ids as the platform does. Events that are already there get their numbers in the order they were
-- written, in an ownership of number 1; which commands wrote them is not known.

ALTER TABLE events ADD COLUMN shard INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN epoch INTEGER NOT NULL DEFAULT 1;
ALTER TABLE events ADD COLUMN command BLOB;

UPDATE events SET shard = numbered.shard, seq = numbered.seq FROM (
    SELECT
        position,
        owned.shard,
        row_number() OVER (PARTITION BY owned.shard ORDER BY position) AS seq
    FROM events JOIN temp.shards_of AS owned USING (entity)
) AS numbered
WHERE numbered.position = events.position;

CREATE UNIQUE INDEX events_by_shard ON events (shard, seq);
CREATE TRIGGER events_never_change BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'events never change');
END;
CREATE TRIGGER events_never_go BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'events never go');
END;

-- How far each log has come. A shard without events has none.
CREATE TABLE heads (
    shard INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO heads (shard, epoch, seq) SELECT shard, 1, max(seq) FROM events GROUP BY shard;

-- Each ownership of a shard that wrote to it, and the number it began with.
CREATE TABLE epochs (
    shard INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    owner TEXT NOT NULL,
    PRIMARY KEY (shard, epoch)
) STRICT, WITHOUT ROWID;
INSERT INTO epochs (shard, epoch, first_seq, at, owner)
    SELECT shard, 1, 1, at, 'sqlite' FROM events WHERE seq = 1;

-- Each time the journal was opened. What is written between two openings is one ownership.
CREATE TABLE openings (
    epoch INTEGER PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT;
INSERT INTO openings (epoch, at) SELECT 1, min(at) FROM events HAVING count(*) > 0;

-- The sum of each account, so that a floor is compared with one row.
ALTER TABLE postings ADD COLUMN floor INTEGER;
CREATE TABLE balances (
    account TEXT NOT NULL,
    currency TEXT NOT NULL,
    balance INTEGER NOT NULL,
    PRIMARY KEY (account, currency)
) STRICT, WITHOUT ROWID;
INSERT INTO balances (account, currency, balance)
    SELECT account, currency, sum(amount) FROM postings GROUP BY account, currency;

-- Facts whose lines do not sum to zero. The reference into the void is looked at when a transaction
-- is committed, so there may be some before that, and none after.
CREATE TABLE void (id INTEGER PRIMARY KEY) STRICT;
CREATE TABLE unsettled (
    key TEXT NOT NULL,
    currency TEXT NOT NULL,
    amount INTEGER NOT NULL,
    never INTEGER NOT NULL DEFAULT 0 REFERENCES void (id) DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (key, currency)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER postings_are_added AFTER INSERT ON postings
BEGIN
    INSERT INTO balances (account, currency, balance)
        VALUES (new.account, new.currency, new.amount)
        ON CONFLICT (account, currency) DO UPDATE SET balance = balance + excluded.balance;
    INSERT INTO unsettled (key, currency, amount) VALUES (new.key, new.currency, new.amount)
        ON CONFLICT (key, currency) DO UPDATE SET amount = amount + excluded.amount;
    DELETE FROM unsettled WHERE key = new.key AND currency = new.currency AND amount = 0;
END;
