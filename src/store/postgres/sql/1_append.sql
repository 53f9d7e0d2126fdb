-- One append batch: one statement, one transaction. Locks are taken in one order by everybody, the row that
-- counts channels first (only to make some), then channels by name: no two batches wait for each other in a
-- circle. An offset is given under its channel's lock, so offsets are in commit order and have no gaps.
--
-- Answers a row an append, in order. status: 0 stored, 1 repeat, 2 key conflict, 3 not found, 4 not the
-- author, 5 too many channels.
CREATE FUNCTION seawall.append(
    now_ms bigint,
    channels_max bigint,
    in_names text[],
    in_authors text[],
    in_keys text[],
    in_kinds smallint[],
    in_targets bigint[],
    in_moderates boolean[],
    in_digests bytea[],
    in_texts text[]
) RETURNS TABLE (status smallint, out_offset bigint, out_time bigint, out_floor bigint, out_epoch bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
-- A plan is made once a connection, perhaps while the tables are empty; it must hold when they are not.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET work_mem = '16MB'
AS $append$
#variable_conflict use_column
DECLARE
    total integer := cardinality(in_names);
    first integer := 1;
    last integer;
    wanted bigint;
    present bigint;
    counted bigint;
    made bigint;
    epoch bigint;
BEGIN
    SELECT m.value INTO STRICT epoch FROM seawall.meta m WHERE m.name = 'epoch';
    SELECT count(DISTINCT i.name) INTO wanted FROM unnest(in_names, in_kinds) AS i (name, kind)
        WHERE i.kind = 0;
    SELECT count(*) INTO present FROM seawall.channels c
        WHERE c.name = ANY (ARRAY(SELECT i.name FROM unnest(in_names, in_kinds) AS i (name, kind)
                                  WHERE i.kind = 0));
    IF present < wanted THEN
        SELECT m.value INTO STRICT counted FROM seawall.meta m WHERE m.name = 'channels' FOR NO KEY UPDATE;
        -- A conflict whose update is ruled out changes nothing and still locks the row.
        WITH missing AS (
            SELECT i.name FROM unnest(in_names, in_kinds) WITH ORDINALITY AS i (name, kind, ord)
            WHERE i.kind = 0 AND NOT EXISTS (SELECT FROM seawall.channels c WHERE c.name = i.name)
            GROUP BY i.name ORDER BY min(i.ord) LIMIT greatest(channels_max - counted, 0)
        ), these AS (
            SELECT m.name COLLATE "C" AS name FROM missing m
            UNION SELECT c.name FROM seawall.channels c WHERE c.name = ANY (in_names)
        ), inserted AS (
            INSERT INTO seawall.channels AS c (name) SELECT t.name FROM these t ORDER BY t.name
            ON CONFLICT (name) DO UPDATE SET head = 0 WHERE false
            RETURNING 1
        ) SELECT count(*) INTO made FROM inserted;
        UPDATE seawall.meta SET value = value + made WHERE name = 'channels';
    ELSE
        PERFORM FROM seawall.channels c WHERE c.name = ANY (in_names) ORDER BY c.name FOR NO KEY UPDATE;
    END IF;

    WHILE first <= total LOOP
        last := first;
        IF in_kinds[first] = 0 THEN
            WHILE last < total AND in_kinds[last + 1] = 0 LOOP
                last := last + 1;
            END LOOP;
            RETURN QUERY WITH input AS (
                SELECT * FROM unnest(
                    in_names[first:last], in_authors[first:last], in_keys[first:last],
                    in_digests[first:last], in_texts[first:last]
                ) WITH ORDINALITY AS i (name, author, key, digest, data, ord)
            ), seen AS (
                SELECT i.*, c.id, c.head, c.floor, greatest(c.time, now_ms) AS stamp,
                    k."offset" AS known_offset, k.time AS known_time, k.digest AS known_digest,
                    i.key IS NULL OR row_number() OVER (
                        PARTITION BY i.name, i.author, i.key ORDER BY i.ord
                    ) = 1 AS leads
                FROM input i
                LEFT JOIN seawall.channels c ON c.name = i.name
                -- `OFFSET 0` keeps this apart, so that all of the key is looked up in its index: a plan that joins
                -- may look up the channel alone and then read every key it ever had.
                LEFT JOIN LATERAL (
                    SELECT k."offset", k.time, k.digest FROM seawall.keys k
                    WHERE k.channel = c.id AND k.author = i.author AND k.key = i.key OFFSET 0
                ) k ON true
            ), numbered AS (
                SELECT s.*, s.id IS NOT NULL AND s.known_offset IS NULL AND s.leads AS fresh,
                    s.head + count(*) FILTER (
                        WHERE s.id IS NOT NULL AND s.known_offset IS NULL AND s.leads
                    ) OVER (PARTITION BY s.name ORDER BY s.ord) AS place
                FROM seen s
            ), settled AS MATERIALIZED (
                SELECT n.*, first_value(n.place) OVER alike AS lead_place,
                    first_value(n.digest) OVER alike AS lead_digest
                FROM numbered n WINDOW alike AS (PARTITION BY n.name, n.author, n.key ORDER BY n.ord)
            ), stored AS (
                INSERT INTO seawall.publications (channel, "offset", author, key, time, kind, data)
                SELECT s.id, s.place, s.author, s.key, s.stamp, 0, s.data FROM settled s WHERE s.fresh
            ), remembered AS (
                INSERT INTO seawall.keys (channel, author, key, "offset", time, digest)
                SELECT s.id, s.author, s.key, s.place, s.stamp, s.digest
                FROM settled s WHERE s.fresh AND s.key IS NOT NULL
            ), raised AS (
                UPDATE seawall.channels AS c SET head = m.head, time = m.stamp,
                    oldest = CASE WHEN c.floor > c.head THEN m.stamp ELSE c.oldest END
                FROM (SELECT s.id, max(s.place) AS head, max(s.stamp) AS stamp
                      FROM settled s WHERE s.fresh GROUP BY s.id) m
                WHERE c.id = m.id
            )
            SELECT (CASE
                    WHEN s.id IS NULL THEN 5
                    WHEN s.fresh THEN 0
                    WHEN coalesce(s.known_digest, s.lead_digest) = s.digest THEN 1
                    ELSE 2 END)::smallint,
                CASE WHEN s.fresh THEN s.place ELSE coalesce(s.known_offset, s.lead_place) END,
                coalesce(s.known_time, s.stamp), s.floor, epoch
            FROM settled s ORDER BY s.ord;
        ELSE
            SELECT c.status, c.out_offset, c.out_time, c.out_floor
            INTO status, out_offset, out_time, out_floor
            FROM seawall.change(
                now_ms, in_names[first], in_authors[first], in_keys[first], in_kinds[first],
                in_targets[first], in_moderates[first], in_digests[first], in_texts[first]
            ) c;
            out_epoch := epoch;
            RETURN NEXT;
        END IF;
        first := last + 1;
    END LOOP;
END
$append$;

-- One edit or delete, in a channel that the caller has locked.
CREATE FUNCTION seawall.change(
    now_ms bigint, in_name text, in_author text, in_key text, in_kind smallint, in_target bigint,
    in_moderates boolean, in_digest bytea, in_text text,
    OUT status smallint, OUT out_offset bigint, OUT out_time bigint, OUT out_floor bigint
)
LANGUAGE plpgsql
AS $change$
#variable_conflict use_column
DECLARE
    channel record;
    known record;
    subject record;
BEGIN
    -- Locked before, if it was there: our own lock is not skipped. One that was made meanwhile is not ours to number in.
    SELECT c.* INTO channel FROM seawall.channels c WHERE c.name = in_name FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        status := 3;
        RETURN;
    END IF;
    out_floor := channel.floor;
    IF in_key IS NOT NULL THEN
        SELECT k.* INTO known FROM seawall.keys k
            WHERE k.channel = channel.id AND k.author = in_author AND k.key = in_key;
        IF FOUND THEN
            status := CASE WHEN known.digest = in_digest THEN 1 ELSE 2 END;
            out_offset := known."offset";
            out_time := known.time;
            RETURN;
        END IF;
    END IF;
    SELECT p.kind = 0 AND p.deleted_by IS NULL AS whole, p.author = in_author AS own INTO subject
        FROM seawall.publications p
        WHERE p.channel = channel.id AND p."offset" = in_target AND p."offset" >= channel.floor;
    IF NOT FOUND OR NOT subject.whole THEN
        status := 3;
        RETURN;
    ELSIF NOT subject.own AND NOT in_moderates THEN
        status := 4;
        RETURN;
    END IF;
    status := 0;
    out_offset := channel.head + 1;
    out_time := greatest(channel.time, now_ms);
    INSERT INTO seawall.publications (channel, "offset", author, key, time, kind, target, data)
        VALUES (channel.id, out_offset, in_author, in_key, out_time, in_kind, in_target, in_text);
    IF in_key IS NOT NULL THEN
        INSERT INTO seawall.keys (channel, author, key, "offset", time, digest)
            VALUES (channel.id, in_author, in_key, out_offset, out_time, in_digest);
    END IF;
    UPDATE seawall.channels SET head = out_offset, time = out_time WHERE id = channel.id;
    IF in_kind = 2 THEN
        -- The text goes, the rows stay: offsets have no gaps.
        UPDATE seawall.publications SET data = NULL, deleted_by = out_offset
            WHERE channel = channel.id AND "offset" = in_target;
        UPDATE seawall.publications SET data = NULL, deleted_by = out_offset
            WHERE channel = channel.id AND target = in_target AND kind = 1;
    END IF;
END
$change$;
