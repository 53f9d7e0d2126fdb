-- Times whose events are kept out of the budgets of all instances. identity: what it says, so that an order that is repeated, or given at each
-- instance, adds one row. body: JSON of the program. Without a row its events count again; a number is not used twice.
CREATE TABLE seawall.slo_exclusions (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    identity text NOT NULL UNIQUE,
    until_ms bigint NOT NULL,
    body text NOT NULL
);

-- The counts of weeks that no row can change any more, in a time zone, for the history of more than the hundred days of slo_quarters.
CREATE TABLE seawall.slo_weeks (
    zone text NOT NULL,
    week text COLLATE "C" NOT NULL,
    from_ms bigint NOT NULL,
    counts jsonb NOT NULL,
    PRIMARY KEY (zone, week)
);

-- Adds an exclusion, and answers with its number, or with that of the same one if there is one; with 0 if there are as many as most.
CREATE FUNCTION seawall.add_exclusion(of_identity text, of_until_ms bigint, of_body text, most bigint) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    added bigint;
BEGIN
    -- An operator reads that it is done: unlike counts, a crash must not lose it.
    PERFORM pg_catalog.set_config('synchronous_commit', 'on', true);
    LOCK TABLE seawall.slo_exclusions IN SHARE ROW EXCLUSIVE MODE;
    SELECT known.number INTO added FROM seawall.slo_exclusions AS known WHERE known.identity = of_identity;
    IF FOUND THEN
        RETURN added;
    END IF;
    IF (SELECT count(*) FROM seawall.slo_exclusions) >= most THEN
        RETURN 0;
    END IF;
    INSERT INTO seawall.slo_exclusions AS known (identity, until_ms, body)
        VALUES (of_identity, of_until_ms, of_body) RETURNING known.number INTO added;
    RETURN added;
END;
$$;

-- Removes an exclusion, and answers with its body; with NULL if there is none of this number.
CREATE FUNCTION seawall.end_exclusion(of_number bigint) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    removed text;
BEGIN
    PERFORM pg_catalog.set_config('synchronous_commit', 'on', true);
    DELETE FROM seawall.slo_exclusions AS known WHERE known.number = of_number RETURNING known.body INTO removed;
    RETURN removed;
END;
$$;
