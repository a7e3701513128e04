-- A commit costs fewer rows still.

-- How many events an entity has is what its log says: the key that says so is looked at, or refuses,
-- with every event anyway. Its row only says when it wants to be woken, and is left alone by commits
-- that do not move that.
ALTER TABLE entities DROP COLUMN version;

-- A statement draws once and counts on from there, so that draws are further apart than a statement
-- has answers.
ALTER SEQUENCE result_positions INCREMENT BY 65536;
