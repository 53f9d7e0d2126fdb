-- Answers to questions. Two more states of streams: 4 accepted, no backend has taken the question; 5 processing, one has, and there is no text.

-- As before. But the age of an answer counts from the time at which it is not accepted any more.
CREATE OR REPLACE FUNCTION seawall.flush_streams(
    now_ms bigint,
    restart_names text[], restart_offsets bigint[], restart_known integer[], restart_gens integer[],
    row_names text[], row_offsets bigint[], row_gens integer[], row_ats integer[], row_nexts integer[], row_bodies bytea[],
    state_names text[], state_offsets bigint[], state_codes smallint[], state_cancellers text[],
    state_gens integer[], state_nexts integer[], state_touched bigint[],
    end_names text[], end_offsets bigint[], end_authors text[], end_marks smallint[], end_texts text[],
    end_gens integer[], end_nexts integer[], end_touched bigint[]
) RETURNS TABLE (part smallint, place bigint, fate smallint, out_offset bigint, out_time bigint, out_mark smallint, out_epoch bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET work_mem = '16MB'
AS $flush_streams$
#variable_conflict use_column
DECLARE
    clock bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
    restart_ids bigint[];
    row_ids bigint[];
    state_ids bigint[];
    end_ids bigint[];
    locked bigint[];
    done bigint[];
    ended bigint[];
BEGIN
    part := 0;
    SELECT m.value INTO STRICT out_epoch FROM seawall.meta m WHERE m.name = 'epoch';
    RETURN NEXT;
    IF cardinality(end_names) > 0 THEN
        PERFORM FROM seawall.channels c WHERE c.name = ANY (end_names) ORDER BY c.name FOR NO KEY UPDATE;
        end_ids := seawall.open_ids(end_names, end_offsets);
    END IF;
    IF cardinality(restart_names) > 0 THEN
        restart_ids := seawall.open_ids(restart_names, restart_offsets);
    END IF;
    IF cardinality(state_names) > 0 THEN
        state_ids := seawall.open_ids(state_names, state_offsets);
    END IF;
    locked := end_ids || restart_ids || state_ids;
    IF locked IS NOT NULL THEN
        PERFORM FROM seawall.streams s WHERE s.id = ANY (locked) ORDER BY s.id FOR NO KEY UPDATE;
    END IF;

    IF restart_ids IS NOT NULL THEN
        WITH changed AS (
            UPDATE seawall.streams AS s SET gen = r.gen, since = CASE s.state WHEN 3 THEN s.since ELSE clock END
            FROM unnest(restart_ids, restart_known, restart_gens) AS r (id, known, gen)
            WHERE s.id = r.id AND s.gen = r.known AND s.kept_until IS NULL
            RETURNING s.id
        ) SELECT array_agg(c.id) INTO done FROM changed c;
        RETURN QUERY SELECT 1::smallint, r.ord, 1::smallint, NULL::bigint, NULL::bigint, NULL::smallint, NULL::bigint
            FROM unnest(restart_ids) WITH ORDINALITY AS r (id, ord)
            WHERE (r.id IN (SELECT d.id FROM unnest(done) AS d (id))) IS NOT TRUE;
    END IF;

    IF cardinality(row_names) > 0 THEN
        row_ids := seawall.open_ids(row_names, row_offsets);
    END IF;
    IF row_ids IS NOT NULL OR end_ids IS NOT NULL THEN
        WITH given AS (
            SELECT r.*, NULL::bigint AS touched
            FROM unnest(row_ids, row_gens, row_ats, row_nexts, row_bodies) AS r (id, gen, at, next, body)
            UNION ALL SELECT e.id, e.gen, e.next, e.next, NULL, e.touched
            FROM unnest(end_ids, end_gens, end_nexts, end_touched) AS e (id, gen, next, touched)
        ), stored AS (
            INSERT INTO seawall.stream_parts AS p (stream, written, gen, at, next, body)
            SELECT g.id, clock, g.gen, g.at, g.next, g.body
            FROM given g JOIN seawall.streams s ON s.id = g.id
            WHERE s.kept_until IS NULL AND s.gen = g.gen AND coalesce(s.touched = g.touched, true)
                AND g.at = coalesce((
                    SELECT p.next FROM seawall.stream_parts p
                    WHERE p.stream = g.id AND p.gen = g.gen ORDER BY p.at DESC LIMIT 1
                ), 0)
            ORDER BY g.id
            ON CONFLICT DO NOTHING
            RETURNING p.stream, p.body IS NULL AS is_mark
        ) SELECT array_agg(s.stream) FILTER (WHERE NOT s.is_mark), array_agg(s.stream) FILTER (WHERE s.is_mark)
            INTO done, ended FROM stored s;
        IF cardinality(row_ids) > coalesce(cardinality(done), 0) THEN
            RETURN QUERY SELECT 2::smallint, r.ord, 1::smallint, NULL::bigint, NULL::bigint, NULL::smallint, NULL::bigint
                FROM unnest(row_ids) WITH ORDINALITY AS r (id, ord)
                WHERE (r.id IN (SELECT d.id FROM unnest(done) AS d (id))) IS NOT TRUE;
        END IF;
    END IF;

    IF state_ids IS NOT NULL THEN
        WITH changed AS (
            UPDATE seawall.streams AS s SET state = t.state, since = clock, began = CASE s.state WHEN 4 THEN clock ELSE s.began END,
                    canceller = coalesce(t.canceller, s.canceller)
            FROM unnest(state_ids, state_codes, state_cancellers, state_gens, state_nexts, state_touched)
                AS t (id, state, canceller, gen, next, touched)
            WHERE s.id = t.id AND s.kept_until IS NULL AND s.state <> 3 AND coalesce(s.touched = t.touched, true)
                AND (t.gen IS NULL OR (s.gen = t.gen AND t.next = coalesce((
                    SELECT p.next FROM seawall.stream_parts p
                    WHERE p.stream = t.id AND p.gen = t.gen ORDER BY p.at DESC LIMIT 1
                ), 0)))
            RETURNING s.id
        ) SELECT array_agg(c.id) INTO done FROM changed c;
        RETURN QUERY SELECT 3::smallint, t.ord, 1::smallint, NULL::bigint, NULL::bigint, NULL::smallint, NULL::bigint
            FROM unnest(state_ids) WITH ORDINALITY AS t (id, ord)
            WHERE (t.id IN (SELECT d.id FROM unnest(done) AS d (id))) IS NOT TRUE;
    END IF;

    IF ended IS NOT NULL THEN
        RETURN QUERY WITH ending AS (
            SELECT e.*, c.id AS channel, greatest(c.time, now_ms) AS stamp,
                c.head + row_number() OVER (PARTITION BY c.id ORDER BY e.ord) AS edit
            FROM unnest(end_ids, end_names, end_offsets, end_authors, end_marks, end_texts)
                WITH ORDINALITY AS e (id, name, "offset", author, mark, data, ord)
            JOIN seawall.channels c ON c.name = e.name
            WHERE (e.id IN (SELECT d.id FROM unnest(ended) AS d (id))) IS TRUE
        ), numbered AS MATERIALIZED (
            SELECT * FROM ending
        ), written AS (
            INSERT INTO seawall.publications (channel, "offset", author, time, kind, target, data, stream)
            SELECT n.channel, n.edit, n.author, n.stamp, 1, n."offset", n.data, n.mark FROM numbered n
        ), raised AS (
            UPDATE seawall.channels AS c SET head = m.head, time = m.stamp,
                oldest = CASE WHEN c.floor > c.head THEN m.stamp ELSE c.oldest END
            FROM (SELECT n.channel, max(n.edit) AS head, max(n.stamp) AS stamp FROM numbered n GROUP BY n.channel) m
            WHERE c.id = m.channel
        ), closed AS (
            UPDATE seawall.streams AS s SET kept_until = clock + 600000 FROM numbered n WHERE s.id = n.id
        ) SELECT 4::smallint, n.ord, 0::smallint, n.edit, n.stamp, n.mark, NULL::bigint FROM numbered n;
    END IF;
    IF cardinality(end_ids) > coalesce(cardinality(ended), 0) THEN
        -- A stream that is gone with its channel, or whose end is not retained, was deleted at its own offset.
        RETURN QUERY SELECT 4::smallint, e.ord, CASE WHEN e.id IS NULL THEN 2 ELSE 1 END::smallint,
                coalesce(k."offset", e."offset"), NULL::bigint, coalesce(k.stream, 7::smallint), NULL::bigint
            FROM unnest(end_ids, end_names, end_offsets) WITH ORDINALITY AS e (id, name, "offset", ord)
            LEFT JOIN seawall.channels c ON c.name = e.name
            LEFT JOIN LATERAL (
                SELECT p."offset", p.stream FROM seawall.publications p
                WHERE p.channel = c.id AND p.target = e."offset" AND p.stream >= 2 ORDER BY p."offset" LIMIT 1
            ) k ON true
            WHERE (e.id IN (SELECT d.id FROM unnest(ended) AS d (id))) IS NOT TRUE;
    END IF;
END
$flush_streams$;

-- As before. But an accepted answer waits for a backend, whatever the bounds of other streams; its writer ends it somewhat earlier.
CREATE OR REPLACE FUNCTION seawall.sweep_streams(idle bigint, orphan bigint, cancel bigint, life bigint, margin bigint, most bigint)
RETURNS TABLE (name text, "offset" bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $sweep_streams$
#variable_conflict use_column
DECLARE
    clock bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
    due record;
    gone bigint[];
BEGIN
    IF NOT EXISTS (SELECT FROM seawall.streams s WHERE s.kept_until IS NULL) THEN
        RETURN;
    END IF;
    FOR due IN
        WITH waits AS (
            -- A time in the future is that of a clock that was wrong, and counts as none.
            SELECT s.*, margin + CASE s.state WHEN 2 THEN orphan WHEN 3 THEN cancel
                    WHEN 4 THEN coalesce((s.options::json -> 'answer' ->> 'give_up_ms')::bigint, 3600000) + 60000
                    WHEN 5 THEN coalesce((s.options::json -> 'answer' ->> 'answer_ms')::bigint, idle)
                    ELSE coalesce(s.idle_ms, idle) END AS wait,
                CASE WHEN s.state = 4 AND s.began <= clock THEN s.began WHEN s.state = 4 THEN 0 ELSE greatest(0, CASE WHEN s.since <= clock THEN s.since END,
                    CASE WHEN s.state <> 3 AND s.touched <= clock THEN s.touched END) END AS last
            FROM seawall.streams s WHERE s.kept_until IS NULL
        )
        SELECT c.name, s.id, s."offset"
        FROM waits s LEFT JOIN seawall.channels c ON c.id = s.channel
        WHERE (s.state <> 4 AND s.began < clock - life - margin) OR (s.last < clock - s.wait AND (s.state IN (3, 4) OR coalesce((
                SELECT CASE WHEN p.written <= clock THEN p.written END FROM seawall.stream_parts p
                WHERE p.stream = s.id AND p.gen = s.gen ORDER BY p.at DESC LIMIT 1
            ), 0) < clock - s.wait))
        ORDER BY random() LIMIT most
    LOOP
        IF due.name IS NULL THEN
            gone := gone || due.id;
        ELSE
            name := due.name;
            "offset" := due."offset";
            RETURN NEXT;
        END IF;
    END LOOP;
    IF gone IS NOT NULL THEN
        PERFORM seawall.close_streams(gone, gone);
    END IF;
END
$sweep_streams$;

-- As before. But a channel that waits for the relay is not idle: what retention removed unsent is noted first.
CREATE OR REPLACE FUNCTION seawall.remove_empty(from_channel bigint, before bigint, most integer, step bigint,
    OUT removed bigint, OUT examined bigint, OUT reached bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $remove_empty$
DECLARE
    idle bigint[];
    top bigint;
BEGIN
    removed := 0;
    SELECT count(*), max(e.id), array_agg(e.id) FILTER (
            WHERE e.time < before AND NOT EXISTS (SELECT FROM seawall.keys k WHERE k.channel = e.id)
                AND NOT EXISTS (SELECT FROM seawall.streams s WHERE s.channel = e.id AND s.kept_until IS NULL)
                AND NOT EXISTS (SELECT FROM seawall.relays r WHERE r.channel = e.id AND r."cursor" < r.head))
        INTO examined, reached, idle
        FROM (SELECT c.id, c.time FROM seawall.channels c
              WHERE c.oldest IS NULL AND c.id > from_channel AND left(c.name, 1) <> '$' ORDER BY c.id LIMIT most) e;
    IF examined < most THEN
        reached := NULL;
    END IF;
    IF idle IS NULL THEN
        RETURN;
    END IF;
    -- In the order of `append`. A channel that is busy is no longer idle.
    PERFORM FROM seawall.meta m WHERE m.name = 'channels' FOR NO KEY UPDATE;
    PERFORM FROM seawall.channels c WHERE c.id = ANY (idle) FOR UPDATE SKIP LOCKED;
    -- What was published before the locks were taken is visible to this statement.
    WITH locked AS (
        SELECT c.id FROM seawall.channels c
        WHERE c.id = ANY (idle) AND c.oldest IS NULL AND c.time < before
            AND NOT EXISTS (SELECT FROM seawall.keys k WHERE k.channel = c.id)
            AND NOT EXISTS (SELECT FROM seawall.streams s WHERE s.channel = c.id AND s.kept_until IS NULL)
            AND NOT EXISTS (SELECT FROM seawall.relays r WHERE r.channel = c.id AND r."cursor" < r.head)
        FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM seawall.channels c USING locked l WHERE c.id = l.id RETURNING c.id, c.head
    ), done AS (
        DELETE FROM seawall.relays r USING gone g WHERE r.channel = g.id
    ) SELECT count(*), max(g.head) INTO removed, top FROM gone g;
    UPDATE seawall.meta SET value = value - removed WHERE name = 'channels';
    UPDATE seawall.meta SET value = (top + step - 1) / step * step WHERE name = 'base' AND value < top;
END
$remove_empty$;
