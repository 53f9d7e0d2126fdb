-- One edit or delete, in a channel that the caller has locked. If it ends a stream, out_mark says so, also of a repeat; the caller has to
-- give out_stream to `close_streams` before it commits. in_closing: the streams that earlier changes of this transaction end.
CREATE FUNCTION seawall.change_marked(
    now_ms bigint, in_name text, in_author text, in_key text, in_kind smallint, in_target bigint,
    in_moderates boolean, in_digest bytea, in_text text, edits_max bigint, in_closing bigint[],
    OUT status smallint, OUT out_offset bigint, OUT out_time bigint, OUT out_floor bigint,
    OUT out_mark smallint, OUT out_stream bigint
)
LANGUAGE plpgsql
AS $change_marked$
#variable_conflict use_column
DECLARE
    channel record;
    known record;
    subject record;
    is_open boolean;
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
            -- Its author may not have been answered the first time.
            SELECT p.stream INTO out_mark FROM seawall.publications p
                WHERE p.channel = channel.id AND p."offset" = known."offset" AND status = 1;
            RETURN;
        END IF;
    END IF;
    SELECT p.kind = 0 AND p.deleted_by IS NULL AS whole, p.author = in_author AS own, p.stream IS NOT NULL AS begins
        INTO subject FROM seawall.publications p
        WHERE p.channel = channel.id AND p."offset" = in_target AND p."offset" >= channel.floor;
    IF NOT FOUND OR NOT subject.whole THEN
        status := 3;
        RETURN;
    ELSIF NOT subject.own AND NOT in_moderates THEN
        status := 4;
        RETURN;
    ELSIF in_kind = 1 AND edits_max <= (
        SELECT count(*) FROM (
            SELECT FROM seawall.publications p
            WHERE p.channel = channel.id AND p.target = in_target AND p.kind = 1 LIMIT edits_max
        ) e
    ) THEN
        status := 6;
        RETURN;
    END IF;
    IF subject.begins THEN
        SELECT s.id, s.kept_until IS NULL INTO out_stream, is_open FROM seawall.streams s
            WHERE s.channel = channel.id AND s."offset" = in_target;
        IF is_open AND NOT coalesce(out_stream = ANY (in_closing), false) THEN
            out_mark := CASE in_kind WHEN 1 THEN 6 ELSE 7 END;
        ELSIF in_kind = 1 THEN
            out_stream := NULL;
        END IF;
    END IF;
    status := 0;
    out_offset := channel.head + 1;
    out_time := greatest(channel.time, now_ms);
    INSERT INTO seawall.publications (channel, "offset", author, key, time, kind, target, data, stream)
        VALUES (channel.id, out_offset, in_author, in_key, out_time, in_kind, in_target, in_text, out_mark);
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
$change_marked$;

-- As before, for programs of the release before; an edit or delete of a begin ends its stream.
CREATE OR REPLACE FUNCTION seawall.change(
    now_ms bigint, in_name text, in_author text, in_key text, in_kind smallint, in_target bigint,
    in_moderates boolean, in_digest bytea, in_text text,
    OUT status smallint, OUT out_offset bigint, OUT out_time bigint, OUT out_floor bigint
)
LANGUAGE plpgsql
AS $change$
DECLARE
    done record;
BEGIN
    SELECT * INTO done FROM seawall.change_marked(now_ms, in_name, in_author, in_key, in_kind, in_target, in_moderates,
        in_digest, in_text, nullif(current_setting('seawall.edits_max', true), '')::bigint, NULL);
    IF done.out_stream IS NOT NULL THEN
        PERFORM seawall.close_streams(ARRAY[done.out_stream],
            CASE WHEN in_kind = 2 THEN ARRAY[done.out_stream] END);
    END IF;
    status := done.status;
    out_offset := done.out_offset;
    out_time := done.out_time;
    out_floor := done.out_floor;
END
$change$;

-- One publication that begins a stream, in a channel that the caller has locked.
CREATE FUNCTION seawall.begin_stream(
    now_ms bigint, in_name text, in_author text, in_key text, in_digest bytea, in_text text,
    in_options text, in_asker text, open_max bigint,
    OUT status smallint, OUT out_offset bigint, OUT out_time bigint, OUT out_floor bigint
)
LANGUAGE plpgsql
AS $begin_stream$
#variable_conflict use_column
DECLARE
    clock bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
    channel record;
    known record;
BEGIN
    SELECT c.* INTO channel FROM seawall.channels c WHERE c.name = in_name FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        status := 5;
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
    IF open_max <= (
        SELECT count(*) FROM (
            SELECT FROM seawall.streams s WHERE s.channel = channel.id AND s.kept_until IS NULL LIMIT open_max
        ) o
    ) THEN
        status := 7;
        RETURN;
    END IF;
    status := 0;
    out_offset := channel.head + 1;
    out_time := greatest(channel.time, now_ms);
    INSERT INTO seawall.publications (channel, "offset", author, key, time, kind, data, stream)
        VALUES (channel.id, out_offset, in_author, in_key, out_time, 0, in_text, 1);
    IF in_key IS NOT NULL THEN
        INSERT INTO seawall.keys (channel, author, key, "offset", time, digest)
            VALUES (channel.id, in_author, in_key, out_offset, out_time, in_digest);
    END IF;
    UPDATE seawall.channels AS c SET head = out_offset, time = out_time,
            oldest = CASE WHEN c.floor > c.head THEN out_time ELSE c.oldest END
        WHERE c.id = channel.id;
    INSERT INTO seawall.streams (channel, "offset", began, touched, since, idle_ms, author, asker, options)
        VALUES (channel.id, out_offset, clock, out_time, clock, (in_options::json ->> 'idle_ms')::bigint,
            in_author, in_asker, in_options);
END
$begin_stream$;

-- As `append_bounded`, with streams. in_streams: the options of the streams that originals begin, as JSON, else null; the whole array is
-- null if none begins. out_stream: 1 begun, 6 replaced, 7 deleted. One more status: 7 too many open streams in the channel.
CREATE FUNCTION seawall.append_streams(
    now_ms bigint,
    channels_max bigint,
    in_names text[],
    in_authors text[],
    in_keys text[],
    in_kinds smallint[],
    in_targets bigint[],
    in_moderates boolean[],
    in_digests bytea[],
    in_texts text[],
    edits_max bigint,
    in_streams text[],
    in_askers text[],
    open_max bigint
) RETURNS TABLE (status smallint, out_offset bigint, out_time bigint, out_floor bigint, out_epoch bigint, out_stream smallint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
-- A plan is made once a connection, perhaps while the tables are empty; it must hold when they are not.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET work_mem = '16MB'
AS $append_streams$
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
    done record;
    closing bigint[];
    deleted bigint[];
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
        IF in_kinds[first] = 0 AND in_streams[first] IS NULL THEN
            WHILE last < total AND in_kinds[last + 1] = 0 AND in_streams[last + 1] IS NULL LOOP
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
                    WHEN s.id IS NULL THEN seawall.refuse_channel(channels_max)
                    WHEN s.fresh THEN 0
                    WHEN coalesce(s.known_digest, s.lead_digest) = s.digest THEN 1
                    ELSE 2 END)::smallint,
                CASE WHEN s.fresh THEN s.place ELSE coalesce(s.known_offset, s.lead_place) END,
                coalesce(s.known_time, s.stamp), s.floor, epoch, NULL::smallint
            FROM settled s ORDER BY s.ord;
        ELSIF in_kinds[first] = 0 THEN
            SELECT * INTO done FROM seawall.begin_stream(now_ms, in_names[first], in_authors[first], in_keys[first],
                in_digests[first], in_texts[first], in_streams[first], in_askers[first], open_max);
            status := CASE WHEN done.status = 5 THEN seawall.refuse_channel(channels_max) ELSE done.status END;
            out_offset := done.out_offset;
            out_time := done.out_time;
            out_floor := done.out_floor;
            out_epoch := epoch;
            out_stream := CASE WHEN done.status = 0 THEN 1 END;
            RETURN NEXT;
        ELSE
            SELECT * INTO done FROM seawall.change_marked(
                now_ms, in_names[first], in_authors[first], in_keys[first], in_kinds[first],
                in_targets[first], in_moderates[first], in_digests[first], in_texts[first], edits_max, closing
            );
            IF done.out_stream IS NOT NULL THEN
                closing := closing || done.out_stream;
                IF in_kinds[first] = 2 THEN
                    deleted := deleted || done.out_stream;
                END IF;
            END IF;
            status := done.status;
            out_offset := done.out_offset;
            out_time := done.out_time;
            out_floor := done.out_floor;
            out_epoch := epoch;
            out_stream := done.out_mark;
            RETURN NEXT;
        END IF;
        first := last + 1;
    END LOOP;
    -- All at once, in the order of locks.
    IF closing IS NOT NULL THEN
        PERFORM seawall.close_streams(closing, deleted);
    END IF;
END
$append_streams$;
