-- The number of changes of holder. What a holder writes names it, so an earlier holder that has not noticed writes nothing.
ALTER TABLE seawall.duties ADD COLUMN term bigint NOT NULL DEFAULT 0;

-- Incidents and notices of all instances, which the leader writes, and silences. body: JSON of the program.
CREATE TABLE seawall.incidents (
    number bigint PRIMARY KEY,
    open boolean NOT NULL,
    body text NOT NULL
);
CREATE TABLE seawall.notices (
    id bigint PRIMARY KEY,
    fate text COLLATE "C" NOT NULL,
    body text NOT NULL
);
CREATE TABLE seawall.silences (
    number bigint PRIMARY KEY,
    body text NOT NULL
);

-- As before; another holder begins another term.
CREATE OR REPLACE FUNCTION seawall.renew_instance(
    process bigint, label text, canary bigint, incarnation bigint, carried_out bigint, ends boolean
) RETURNS TABLE (
    origin bigint, instance text, number bigint, count bigint, done bigint, leaving boolean, age_ms bigint, leads boolean
)
LANGUAGE sql
AS $$
    INSERT INTO seawall.canaries AS mine (origin, instance, number, stamp, count, done, leaving)
        VALUES (process, label, canary, pg_catalog.clock_timestamp(), incarnation, carried_out, ends)
        ON CONFLICT ON CONSTRAINT canaries_pkey
        DO UPDATE SET number = excluded.number, stamp = excluded.stamp, count = excluded.count, done = excluded.done,
            leaving = excluded.leaving;
    UPDATE seawall.duties AS duty
        SET term = CASE WHEN duty.origin = process THEN duty.term ELSE duty.term + 1 END,
            origin = process, until = pg_catalog.clock_timestamp()
            + CASE WHEN ends THEN interval '0 seconds' ELSE interval '4 seconds' END
        WHERE duty.name = 'leader'
            AND (duty.origin = process OR (duty.until < pg_catalog.clock_timestamp() AND NOT ends));
    DELETE FROM seawall.canaries WHERE origin IN (
        SELECT old.origin FROM seawall.canaries AS old, seawall.duties AS duty
        WHERE duty.name = 'leader' AND duty.origin = process
            AND old.stamp < pg_catalog.clock_timestamp() - interval '1 hour'
        FOR UPDATE OF old SKIP LOCKED LIMIT 100);
    SELECT each.origin, each.instance, each.number, each.count, each.done, each.leaving,
            (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - each.stamp) * 1000)::bigint,
            duty.until IS NOT NULL
        FROM seawall.canaries AS each
        LEFT JOIN seawall.duties AS duty
            ON duty.name = 'leader' AND duty.origin = each.origin AND duty.until > pg_catalog.clock_timestamp()
        WHERE each.number > 0 AND each.stamp > pg_catalog.clock_timestamp() - interval '1 minute'
        LIMIT 1000;
$$;

-- Writes changes of alerts if this process still holds the duty of the leader in this term, and says whether. The lock is held until the
-- commit, so that the next term begins after it. replaces: nothing that is there is open, waits or silences any more.
CREATE FUNCTION seawall.write_alerts(
    process bigint, of_term bigint, replaces boolean,
    numbers bigint[], opens boolean[], incident_bodies text[],
    ids bigint[], fates text[], notice_bodies text[],
    silence_numbers bigint[], silence_bodies text[], silences_over bigint[]
) RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
    -- What is written here is sent to people: unlike counts, a crash must not lose it.
    PERFORM pg_catalog.set_config('synchronous_commit', 'on', true);
    PERFORM FROM seawall.duties AS duty
        WHERE duty.name = 'leader' AND duty.origin = process AND duty.term = of_term FOR SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF replaces THEN
        UPDATE seawall.notices AS known SET fate = 'merged' WHERE known.fate = 'waiting';
        UPDATE seawall.incidents AS known SET open = false WHERE known.open;
        DELETE FROM seawall.silences;
    END IF;
    INSERT INTO seawall.incidents AS known (number, open, body)
        SELECT given.number, given.open, given.body FROM unnest(numbers, opens, incident_bodies) AS given (number, open, body)
        ON CONFLICT ON CONSTRAINT incidents_pkey DO UPDATE SET open = excluded.open, body = excluded.body;
    INSERT INTO seawall.notices AS known (id, fate, body)
        SELECT given.id, given.fate, given.body FROM unnest(ids, fates, notice_bodies) AS given (id, fate, body)
        ON CONFLICT ON CONSTRAINT notices_pkey DO UPDATE SET fate = excluded.fate, body = excluded.body;
    INSERT INTO seawall.silences AS known (number, body)
        SELECT given.number, given.body FROM unnest(silence_numbers, silence_bodies) AS given (number, body)
        ON CONFLICT ON CONSTRAINT silences_pkey DO UPDATE SET body = excluded.body;
    DELETE FROM seawall.silences AS over WHERE over.number = ANY (silences_over);
    RETURN true;
END;
$$;
