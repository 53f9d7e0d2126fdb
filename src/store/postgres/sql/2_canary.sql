-- One row for each process that uses a bus: outside of every channel's log.
CREATE TABLE seawall.canaries (
    origin bigint PRIMARY KEY,
    instance text NOT NULL,
    number bigint NOT NULL,
    stamp timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Commits a canary, and tells which other processes committed one lately. Rows of processes that ended go after an hour.
CREATE FUNCTION seawall.canary(process bigint, label text, count bigint)
RETURNS TABLE (origin bigint, instance text, number bigint)
LANGUAGE sql
AS $$
    INSERT INTO seawall.canaries AS mine (origin, instance, number, stamp)
        VALUES (process, label, count, pg_catalog.clock_timestamp())
        ON CONFLICT ON CONSTRAINT canaries_pkey
        DO UPDATE SET number = excluded.number, stamp = excluded.stamp;
    DELETE FROM seawall.canaries WHERE origin IN (
        SELECT old.origin FROM seawall.canaries AS old
        WHERE old.stamp < pg_catalog.clock_timestamp() - interval '1 hour'
        FOR UPDATE SKIP LOCKED LIMIT 100);
    SELECT other.origin, other.instance, other.number FROM seawall.canaries AS other
        WHERE other.origin <> process AND other.stamp > pg_catalog.clock_timestamp() - interval '6 seconds'
        LIMIT 1000;
$$;
