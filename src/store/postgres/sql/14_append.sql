-- As `append_streams`, for batches with publications that are to be sent (in_relayed). in_answerers: the authors of the answers that begin
-- together with such originals, else null; then the time to take the question, and that to answer it, in milliseconds. in_claims: JSON.
-- out_answer: the offset of the answer.
CREATE FUNCTION seawall.append_relayed(
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
    open_max bigint,
    in_relayed boolean[],
    in_answerers text[],
    in_give_ups bigint[],
    in_answer_times bigint[],
    in_claims text[]
) RETURNS TABLE (status smallint, out_offset bigint, out_time bigint, out_floor bigint, out_epoch bigint, out_stream smallint,
    out_answer bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
-- A plan is made once a connection, perhaps while the tables are empty; it must hold when they are not.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET work_mem = '16MB'
AS $append_relayed$
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
    relayed_names text[];
    relayed_offsets bigint[];
    relayed_claims text[];
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
        out_answer := NULL;
        IF in_kinds[first] = 0 AND in_streams[first] IS NULL AND NOT in_relayed[first] THEN
            WHILE last < total AND in_kinds[last + 1] = 0 AND in_streams[last + 1] IS NULL AND NOT in_relayed[last + 1] LOOP
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
                coalesce(s.known_time, s.stamp), s.floor, epoch, NULL::smallint, NULL::bigint
            FROM settled s ORDER BY s.ord;
        ELSIF in_kinds[first] = 0 AND in_streams[first] IS NULL THEN
            SELECT * INTO done FROM seawall.ask(now_ms, in_names[first], in_authors[first], in_keys[first], in_digests[first],
                in_texts[first], in_answerers[first], in_give_ups[first], in_answer_times[first], open_max);
            status := CASE WHEN done.status = 5 THEN seawall.refuse_channel(channels_max) ELSE done.status END;
            out_offset := done.out_offset;
            out_time := done.out_time;
            out_floor := done.out_floor;
            out_epoch := epoch;
            out_stream := NULL;
            out_answer := done.out_answer;
            IF done.status = 0 THEN
                relayed_names := relayed_names || in_names[first];
                relayed_offsets := relayed_offsets || done.out_offset;
                relayed_claims := array_append(relayed_claims, in_claims[first]);
            END IF;
            RETURN NEXT;
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
            IF in_relayed[first] AND done.status = 0 AND done.out_mark IS NULL THEN
                relayed_names := relayed_names || in_names[first];
                relayed_offsets := relayed_offsets || done.out_offset;
                relayed_claims := array_append(relayed_claims, in_claims[first]);
            END IF;
            RETURN NEXT;
        END IF;
        first := last + 1;
    END LOOP;
    -- All at once, in the order of locks.
    IF closing IS NOT NULL THEN
        PERFORM seawall.close_streams(closing, deleted);
    END IF;
    IF relayed_names IS NOT NULL THEN
        PERFORM seawall.raise_relays(relayed_names, relayed_offsets, relayed_claims);
    END IF;
END
$append_relayed$;
