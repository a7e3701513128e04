-- What could be learned again, and is worth keeping all the same: what regions have learned, and who stands in line.
-- `epoch` says which ownership has put it there. A row is written whole, and there are few.
CREATE TABLE shelves (
    shard INTEGER NOT NULL,
    name TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (shard, name)
) STRICT;
