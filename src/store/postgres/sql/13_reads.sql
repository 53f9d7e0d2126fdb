-- Streams with their texts, in the order asked: the parts of the newest generation are joined to one. status: 0 there is none, 1 open,
-- 2 ended. begun: null if retention has deleted the begin.
CREATE FUNCTION seawall.load_streams(in_names text[], in_offsets bigint[]) RETURNS TABLE (
    status smallint, "offset" bigint, author text, asker text, canceller text, options text, gen integer, state smallint,
    touched bigint, age bigint, begun text, next integer, body bytea, restarted bigint,
    edit bigint, mark smallint, stamp bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $load_streams$
#variable_conflict use_column
DECLARE
    clock bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
BEGIN
    RETURN QUERY SELECT (CASE WHEN s.id IS NOT NULL THEN 1 WHEN e."offset" IS NOT NULL THEN 2 ELSE 0 END)::smallint,
            i."offset", s.author, s.asker, s.canceller, s.options, s.gen, s.state, s.touched, clock - s.began,
            p.data, t.next, t.body, o.bytes, e."offset", e.stream, e.time
        FROM unnest(in_names, in_offsets) WITH ORDINALITY AS i (name, "offset", ord)
        LEFT JOIN seawall.channels c ON c.name = i.name
        LEFT JOIN seawall.streams s ON s.channel = c.id AND s."offset" = i."offset" AND s.kept_until IS NULL
        LEFT JOIN seawall.publications p ON p.channel = s.channel AND p."offset" = i."offset"
        LEFT JOIN LATERAL (
            SELECT max(r.next) AS next, string_agg(r.body, ''::bytea ORDER BY r.at) AS body
            FROM seawall.stream_parts r WHERE r.stream = s.id AND r.gen = s.gen
        ) t ON true
        LEFT JOIN LATERAL (
            SELECT sum(octet_length(r.body))::bigint AS bytes
            FROM seawall.stream_parts r WHERE r.stream = s.id AND r.gen < s.gen
        ) o ON true
        LEFT JOIN LATERAL (
            SELECT p."offset", p.stream, p.time FROM seawall.publications p
            WHERE p.channel = c.id AND p.target = i."offset" AND p.stream >= 2 AND s.id IS NULL ORDER BY p."offset" LIMIT 1
        ) e ON true
        ORDER BY i.ord;
END
$load_streams$;

-- The same of the first open streams of a channel after an offset.
CREATE FUNCTION seawall.load_open(in_name text, in_after bigint, in_most bigint) RETURNS TABLE (
    status smallint, "offset" bigint, author text, asker text, canceller text, options text, gen integer, state smallint,
    touched bigint, age bigint, begun text, next integer, body bytea, restarted bigint,
    edit bigint, mark smallint, stamp bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $load_open$
#variable_conflict use_column
DECLARE
    offsets bigint[];
BEGIN
    SELECT array_agg(o."offset" ORDER BY o."offset") INTO offsets FROM (
        SELECT s."offset" FROM seawall.channels c JOIN seawall.streams s ON s.channel = c.id AND s.kept_until IS NULL
        WHERE c.name = in_name AND s."offset" > in_after ORDER BY s."offset" LIMIT in_most
    ) o;
    IF offsets IS NOT NULL THEN
        RETURN QUERY SELECT * FROM seawall.load_streams(array_fill(in_name, ARRAY[cardinality(offsets)]), offsets);
    END IF;
END
$load_open$;

-- The progress of streams, in the order asked; nulls for one that is not open.
CREATE FUNCTION seawall.look_streams(in_names text[], in_offsets bigint[])
RETURNS TABLE (gen integer, next integer, state smallint, touched bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $look_streams$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT s.gen, coalesce((
                SELECT p.next FROM seawall.stream_parts p
                WHERE p.stream = s.id AND p.gen = s.gen ORDER BY p.at DESC LIMIT 1
            ), 0), s.state, s.touched
        FROM unnest(in_names, in_offsets) WITH ORDINALITY AS i (name, "offset", ord)
        LEFT JOIN seawall.channels c ON c.name = i.name
        LEFT JOIN seawall.streams s ON s.channel = c.id AND s."offset" = i."offset" AND s.kept_until IS NULL
        ORDER BY i.ord;
END
$look_streams$;

-- Notes that the producers of these streams live, and answers with the new value of `touched`; null for one that is not open.
CREATE FUNCTION seawall.touch_streams(in_names text[], in_offsets bigint[]) RETURNS TABLE (touched bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $touch_streams$
#variable_conflict use_column
DECLARE
    clock bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
    ids bigint[] := seawall.open_ids(in_names, in_offsets);
BEGIN
    PERFORM FROM seawall.streams s WHERE s.id = ANY (ids) ORDER BY s.id FOR NO KEY UPDATE;
    UPDATE seawall.streams AS s SET touched = CASE WHEN s.touched = clock THEN clock + 1 ELSE clock END
        WHERE s.id = ANY (ids) AND s.kept_until IS NULL;
    RETURN QUERY SELECT s.touched FROM unnest(ids) WITH ORDINALITY AS i (id, ord)
        LEFT JOIN seawall.streams s ON s.id = i.id AND s.kept_until IS NULL ORDER BY i.ord;
END
$touch_streams$;

-- As `page`, with the mark of each publication, and says whether the channel has open streams.
CREATE FUNCTION seawall.page_marked(in_name text, in_after bigint, in_below bigint, backwards boolean,
    in_most bigint, in_bytes bigint
) RETURNS TABLE (head bigint, floor bigint, epoch bigint, "offset" bigint, author text, key text, stamp bigint,
    kind smallint, target bigint, deleted_by bigint, data text, stream smallint, has_streams boolean)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $page_marked$
#variable_conflict use_column
BEGIN
    IF backwards THEN
        RETURN QUERY SELECT h.head, h.floor, h.epoch, p."offset", p.author, p.key, p.time, p.kind, p.target, p.deleted_by,
            p.data, p.stream, h.has_streams
        -- `OFFSET 0`: one probe for the page, not one for each row.
        FROM (
            SELECT c.id, coalesce(c.head, (SELECT b.value FROM seawall.meta b WHERE b.name = 'base')) AS head,
                coalesce(c.floor, 1 + (SELECT b.value FROM seawall.meta b WHERE b.name = 'base')) AS floor,
                m.value AS epoch,
                EXISTS (SELECT FROM seawall.streams s WHERE s.channel = c.id AND s.kept_until IS NULL) AS has_streams
            FROM seawall.meta m LEFT JOIN seawall.channels c ON c.name = in_name WHERE m.name = 'epoch' OFFSET 0
        ) h LEFT JOIN LATERAL (
            SELECT q.*, sum(octet_length(q.data)) OVER (ORDER BY q."offset" DESC) - octet_length(q.data) AS ahead
            FROM (SELECT * FROM seawall.publications p
                  WHERE p.channel = h.id AND p."offset" < in_below AND p."offset" >= h.floor
                  ORDER BY p."offset" DESC LIMIT in_most) q
        ) p ON coalesce(p.ahead, 0) <= in_bytes
        ORDER BY p."offset" DESC;
    ELSE
        RETURN QUERY SELECT h.head, h.floor, h.epoch, p."offset", p.author, p.key, p.time, p.kind, p.target, p.deleted_by,
            p.data, p.stream, h.has_streams
        -- `OFFSET 0`: one probe for the page, not one for each row.
        FROM (
            SELECT c.id, coalesce(c.head, (SELECT b.value FROM seawall.meta b WHERE b.name = 'base')) AS head,
                coalesce(c.floor, 1 + (SELECT b.value FROM seawall.meta b WHERE b.name = 'base')) AS floor,
                m.value AS epoch,
                EXISTS (SELECT FROM seawall.streams s WHERE s.channel = c.id AND s.kept_until IS NULL) AS has_streams
            FROM seawall.meta m LEFT JOIN seawall.channels c ON c.name = in_name WHERE m.name = 'epoch' OFFSET 0
        ) h LEFT JOIN LATERAL (
            SELECT q.*, sum(octet_length(q.data)) OVER (ORDER BY q."offset") - octet_length(q.data) AS ahead
            FROM (SELECT * FROM seawall.publications p
                  WHERE p.channel = h.id AND p."offset" > in_after AND p."offset" >= h.floor
                  ORDER BY p."offset" LIMIT in_most) q
        ) p ON coalesce(p.ahead, 0) <= in_bytes
        ORDER BY p."offset";
    END IF;
END
$page_marked$;
