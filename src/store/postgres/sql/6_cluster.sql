-- What each instance says of itself: the count of its incarnation (0 from programs of earlier versions, which have none), the
-- number of the last order that it has carried out, and whether it is about to end.
ALTER TABLE seawall.canaries
    ADD COLUMN count bigint NOT NULL DEFAULT 0,
    ADD COLUMN done bigint NOT NULL DEFAULT 0,
    ADD COLUMN leaving boolean NOT NULL DEFAULT false;

-- Work that one instance does for all. It holds a duty until the time in its row, by the clock of this server.
CREATE TABLE seawall.duties (
    name text COLLATE "C" PRIMARY KEY,
    origin bigint NOT NULL,
    until timestamptz NOT NULL
) WITH (fillfactor = 50);
INSERT INTO seawall.duties (name, origin, until) VALUES ('leader', 0, pg_catalog.clock_timestamp());

-- Orders that every instance carries out, in the order of their numbers.
CREATE TABLE seawall.orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text COLLATE "C" NOT NULL,
    args jsonb NOT NULL,
    made timestamptz NOT NULL,
    by text NOT NULL
);

-- Users who may not connect. until: null for a block without an end.
CREATE TABLE seawall.blocks (
    user_name text COLLATE "C" PRIMARY KEY,
    until timestamptz,
    reason text NOT NULL,
    made timestamptz NOT NULL
);

-- Tokens that are refused before they expire. kind: 0 one token, by its jti; 1 all tokens of a user issued before
-- `issued_before`.
CREATE TABLE seawall.revocations (
    kind smallint NOT NULL,
    name text COLLATE "C" NOT NULL,
    issued_before timestamptz,
    until timestamptz NOT NULL,
    PRIMARY KEY (kind, name)
);

-- Renews the row of one instance, takes or keeps the duty of the leader, and answers with the rows of the last minute, its own
-- among them: `age_ms` by the clock of this server. A row with number 0 is of a probe. An instance that is leaving gives the duty up. `seawall.canary` does the
-- first of this for programs of earlier versions. Rows of processes that ended are deleted after an hour, by the leader.
CREATE FUNCTION seawall.renew_instance(
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
        SET origin = process, until = pg_catalog.clock_timestamp()
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
