-- What objectives counted: a row for each run of a process and minute, with the totals of that minute so far. counts: an object with an
-- array of numbers for each part. changed: when it was last written, so that instances read what is new.
CREATE TABLE seawall.slo_rows (
    run bigint NOT NULL,
    minute bigint NOT NULL,
    counts jsonb NOT NULL,
    changed timestamptz NOT NULL,
    PRIMARY KEY (run, minute)
);
CREATE INDEX slo_rows_by_change ON seawall.slo_rows (changed, minute, run);

-- The counts of all runs in a quarter of an hour that no row can change any more.
CREATE TABLE seawall.slo_quarters (
    quarter bigint PRIMARY KEY,
    counts jsonb NOT NULL
);

-- The runs. sessions: open ones at that time. ended: empty while it runs, or if nothing is known of its end; else clean or killed.
CREATE TABLE seawall.slo_runs (
    run bigint PRIMARY KEY,
    instance text NOT NULL,
    began timestamptz NOT NULL,
    last timestamptz NOT NULL,
    sessions bigint NOT NULL,
    ended text NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX slo_runs_by_last ON seawall.slo_runs (last);

-- The larger of each number. Two versions of a row are of one minute of one run, whose counts only grow.
CREATE FUNCTION seawall.larger_counts(one jsonb, other jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE
AS $$
    SELECT coalesce(pg_catalog.jsonb_object_agg(parts.part, parts.cells), '{}'::jsonb) FROM (
        SELECT cells.part, pg_catalog.jsonb_agg(cells.value ORDER BY cells.place) AS cells FROM (
            SELECT part.key AS part, cell.place, max(cell.value::bigint) AS value
            FROM (VALUES (one), (other)) AS version (counts),
                pg_catalog.jsonb_each(version.counts) AS part,
                pg_catalog.jsonb_array_elements_text(part.value) WITH ORDINALITY AS cell (value, place)
            GROUP BY part.key, cell.place) AS cells
        GROUP BY cells.part) AS parts;
$$;

-- Writes rows of one instance and that its run goes on, and answers with the time of this server in milliseconds. Rows of more than
-- three days ago are left out, because their quarters are closed.
CREATE FUNCTION seawall.share_counts(
    own bigint, label text, open_sessions bigint, end_word text, killed bigint[], of_runs bigint[], of_minutes bigint[], of_counts text[]
) RETURNS bigint
LANGUAGE sql
AS $$
    INSERT INTO seawall.slo_runs AS known (run, instance, began, last, sessions, ended)
        VALUES (own, label, pg_catalog.clock_timestamp(), pg_catalog.clock_timestamp(), open_sessions, end_word)
        ON CONFLICT (run) DO UPDATE SET last = excluded.last, sessions = excluded.sessions, ended = excluded.ended;
    UPDATE seawall.slo_runs AS dead SET ended = 'killed' WHERE dead.run = ANY (killed) AND dead.ended = '';
    INSERT INTO seawall.slo_rows AS known (run, minute, counts, changed)
        SELECT given.run, given.minute, given.counts::jsonb, pg_catalog.clock_timestamp()
            FROM unnest(of_runs, of_minutes, of_counts) AS given (run, minute, counts)
            WHERE given.minute > pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) / 60 - 4320
        ON CONFLICT (run, minute) DO UPDATE
            SET counts = seawall.larger_counts(known.counts, excluded.counts), changed = excluded.changed
            WHERE known.counts <> seawall.larger_counts(known.counts, excluded.counts);
    SELECT (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000)::bigint;
$$;
