-- What could be learned again, and is worth keeping all the same: what regions have learned, and who stands in line. Rows
-- are few, and each is written whole, again and again, up to a quarter of a megabyte that lies apart: half a page stays free, so that what
-- points there is changed in place. `epoch` says which ownership has put it there; an older one never replaces a newer one.
CREATE TABLE shelves (
    shard int4 NOT NULL,
    name text COLLATE "C" NOT NULL,
    epoch int8 NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (shard, name)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE shelves ALTER COLUMN bytes SET STORAGE EXTERNAL;
