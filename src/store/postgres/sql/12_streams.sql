-- As in SQLite: 1 if the publication began a stream, 2 to 7 if it ended one. Streams are not stored here yet, so it is null; programs
-- of the release before never name it.
ALTER TABLE seawall.publications ADD COLUMN stream smallint;
