-- Streams: publications that grow piece by piece until an edit ends them. Several instances may write one stream. Neither owns it: the
-- position is the lock. A writer adds a part where the last part ends, as far as it knows, and that place is the part's key; of two
-- writers one gets the key, and the other reads what there is.
--
-- Locks are taken in one order by everybody, so that nothing waits in a circle: the row that counts channels, channels by name, rows of
-- streams by number, and then the keys of parts by number. Only a holder of its channel's lock ends a stream, as its end is a
-- publication of the channel.

-- Times are those of this server's clock, in Unix milliseconds, except the first `touched`, which is the time of the publication. So
-- `touched` is only compared for equality, or with the present.
CREATE TABLE seawall.streams (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel bigint NOT NULL,
    -- Of the publication that began it.
    "offset" bigint NOT NULL,
    began bigint NOT NULL,
    -- The last sign of life that is not a part.
    touched bigint NOT NULL,
    -- The beginning of its state or generation.
    since bigint NOT NULL,
    -- Null while it is open; then the time from which its parts may be deleted.
    kept_until bigint,
    idle_ms bigint,
    gen integer NOT NULL DEFAULT 1,
    -- 1 streaming, 2 paused, 3 cancelling
    state smallint NOT NULL DEFAULT 1,
    author text COLLATE "C" NOT NULL,
    asker text COLLATE "C",
    canceller text COLLATE "C",
    -- JSON of the program.
    options text NOT NULL,
    UNIQUE (channel, "offset")
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX streams_open ON seawall.streams (channel, "offset") WHERE kept_until IS NULL;
CREATE INDEX streams_ended ON seawall.streams (kept_until) WHERE kept_until IS NOT NULL;

-- body: the pieces between two positions. A part without a body is the mark at the end of a stream, after which no key is free.
CREATE TABLE seawall.stream_parts (
    stream bigint NOT NULL,
    written bigint NOT NULL,
    gen integer NOT NULL,
    at integer NOT NULL,
    next integer NOT NULL,
    body bytea,
    PRIMARY KEY (stream, gen, at)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 1);

-- The numbers of these streams, in the order asked; null for one that is not open.
CREATE FUNCTION seawall.open_ids(in_names text[], in_offsets bigint[]) RETURNS bigint[]
LANGUAGE plpgsql
AS $open_ids$
BEGIN
    RETURN (
        SELECT array_agg(s.id ORDER BY i.ord)
        FROM unnest(in_names, in_offsets) WITH ORDINALITY AS i (name, "offset", ord)
        LEFT JOIN seawall.channels c ON c.name = i.name
        LEFT JOIN seawall.streams s ON s.channel = c.id AND s."offset" = i."offset" AND s.kept_until IS NULL
    );
END
$open_ids$;

-- Ends streams, each at the end of its text. `in_deleted`: the ones among them whose text is to go as soon as no writer can add to it.
-- The caller holds the locks of their channels.
CREATE FUNCTION seawall.close_streams(in_ids bigint[], in_deleted bigint[]) RETURNS void
LANGUAGE plpgsql
AS $close_streams$
DECLARE
    clock bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
    this record;
BEGIN
    PERFORM FROM seawall.streams s WHERE s.id = ANY (in_ids) ORDER BY s.id FOR NO KEY UPDATE;
    FOR this IN SELECT s.id, s.gen FROM seawall.streams s
        WHERE s.id = ANY (in_ids) AND s.kept_until IS NULL ORDER BY s.id
    LOOP
        LOOP
            INSERT INTO seawall.stream_parts (stream, written, gen, at, next)
                SELECT this.id, clock, this.gen, e.at, e.at FROM (
                    SELECT coalesce((
                        SELECT p.next FROM seawall.stream_parts p
                        WHERE p.stream = this.id AND p.gen = this.gen ORDER BY p.at DESC LIMIT 1
                    ), 0) AS at
                ) e
                ON CONFLICT DO NOTHING;
            -- If another writer was there first, its part is visible to the next statement.
            EXIT WHEN FOUND;
        END LOOP;
    END LOOP;
    -- A statement of a writer that has not seen the end is over after 5 s.
    UPDATE seawall.streams AS s
        SET kept_until = least(coalesce(s.kept_until, clock + 600000),
            CASE WHEN s.id = ANY (in_deleted) THEN clock + 5000 END)
        WHERE s.id = ANY (in_ids);
END
$close_streams$;
