-- Removes channels that are empty, idle and without keys. Each function here replaces one of the same arguments and answers, so
-- programs of the release before are served by it too.

-- The offset after which channels start that are created from now on: no less than the head of any channel ever removed.
INSERT INTO seawall.meta (name, value) VALUES ('base', 0) ON CONFLICT DO NOTHING;
CREATE INDEX channels_empty ON seawall.channels (id) WHERE oldest IS NULL;

-- A trigger, because more than one function creates channels. Whoever creates or removes some holds the row that counts them,
-- so the base cannot move meanwhile.
CREATE FUNCTION seawall.start_channel() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $start_channel$
BEGIN
    SELECT m.value, m.value + 1 INTO STRICT NEW.head, NEW.floor FROM seawall.meta m WHERE m.name = 'base';
    RETURN NEW;
END
$start_channel$;
CREATE TRIGGER start_channel BEFORE INSERT ON seawall.channels
    FOR EACH ROW EXECUTE FUNCTION seawall.start_channel();

-- Looks at the next empty channels in order and removes those that published nothing since `before` and have no keys. Answers
-- where it stopped; null when it came to the end. `step`: bases are multiples of it. Channels of probes are not counted, and not
-- removed here.
CREATE FUNCTION seawall.remove_empty(from_channel bigint, before bigint, most integer, step bigint,
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
            WHERE e.time < before AND NOT EXISTS (SELECT FROM seawall.keys k WHERE k.channel = e.id))
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
        FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM seawall.channels c USING locked l WHERE c.id = l.id RETURNING c.head
    ) SELECT count(*), max(g.head) INTO removed, top FROM gone g;
    UPDATE seawall.meta SET value = value - removed WHERE name = 'channels';
    UPDATE seawall.meta SET value = (top + step - 1) / step * step WHERE name = 'base' AND value < top;
END
$remove_empty$;

-- As before. But a channel that was removed while the batch waited for its row makes the whole batch fail as after a deadlock,
-- so that it is tried again and creates the channel.
CREATE OR REPLACE FUNCTION seawall.append_bounded(
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
    edits_max bigint
) RETURNS TABLE (status smallint, out_offset bigint, out_time bigint, out_floor bigint, out_epoch bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $append_bounded$
BEGIN
    PERFORM set_config('seawall.edits_max', edits_max::text, true);
    RETURN QUERY SELECT CASE WHEN a.status = 5 THEN seawall.refuse_channel(channels_max) ELSE a.status END,
            a.out_offset, a.out_time, a.out_floor, a.out_epoch
        FROM seawall.append(now_ms, channels_max, in_names, in_authors, in_keys, in_kinds,
            in_targets, in_moderates, in_digests, in_texts) a;
END
$append_bounded$;

CREATE FUNCTION seawall.refuse_channel(channels_max bigint) RETURNS smallint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $refuse_channel$
BEGIN
    IF (SELECT m.value < channels_max FROM seawall.meta m WHERE m.name = 'channels') THEN
        RAISE EXCEPTION 'a channel was removed meanwhile' USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN 5;
END
$refuse_channel$;

-- As before. But a channel that does not exist stands where it would start.
CREATE OR REPLACE FUNCTION seawall.page(in_name text, in_after bigint, in_below bigint, backwards boolean,
    in_most bigint, in_bytes bigint
) RETURNS TABLE (head bigint, floor bigint, epoch bigint, "offset" bigint, author text, key text, stamp bigint,
    kind smallint, target bigint, deleted_by bigint, data text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $page$
#variable_conflict use_column
BEGIN
    IF backwards THEN
        RETURN QUERY SELECT coalesce(c.head, (SELECT b.value FROM seawall.meta b WHERE b.name = 'base')),
            coalesce(c.floor, 1 + (SELECT b.value FROM seawall.meta b WHERE b.name = 'base')), m.value,
            p."offset", p.author, p.key, p.time, p.kind, p.target, p.deleted_by, p.data
        FROM seawall.meta m LEFT JOIN seawall.channels c ON c.name = in_name
        LEFT JOIN LATERAL (
            SELECT q.*, sum(octet_length(q.data)) OVER (ORDER BY q."offset" DESC) - octet_length(q.data)
                AS ahead
            FROM (SELECT * FROM seawall.publications p
                  WHERE p.channel = c.id AND p."offset" < in_below AND p."offset" >= c.floor
                  ORDER BY p."offset" DESC LIMIT in_most) q
        ) p ON coalesce(p.ahead, 0) <= in_bytes
        WHERE m.name = 'epoch' ORDER BY p."offset" DESC;
    ELSE
        RETURN QUERY SELECT coalesce(c.head, (SELECT b.value FROM seawall.meta b WHERE b.name = 'base')),
            coalesce(c.floor, 1 + (SELECT b.value FROM seawall.meta b WHERE b.name = 'base')), m.value,
            p."offset", p.author, p.key, p.time, p.kind, p.target, p.deleted_by, p.data
        FROM seawall.meta m LEFT JOIN seawall.channels c ON c.name = in_name
        LEFT JOIN LATERAL (
            SELECT q.*, sum(octet_length(q.data)) OVER (ORDER BY q."offset") - octet_length(q.data) AS ahead
            FROM (SELECT * FROM seawall.publications p
                  WHERE p.channel = c.id AND p."offset" > in_after AND p."offset" >= c.floor
                  ORDER BY p."offset" LIMIT in_most) q
        ) p ON coalesce(p.ahead, 0) <= in_bytes
        WHERE m.name = 'epoch' ORDER BY p."offset";
    END IF;
END
$page$;

CREATE OR REPLACE FUNCTION seawall.heads(in_names text[]
) RETURNS TABLE (head bigint, floor bigint, epoch bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $heads$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT coalesce(c.head, (SELECT b.value FROM seawall.meta b WHERE b.name = 'base')),
            coalesce(c.floor, 1 + (SELECT b.value FROM seawall.meta b WHERE b.name = 'base')),
            (SELECT m.value FROM seawall.meta m WHERE m.name = 'epoch')
        FROM unnest(in_names) WITH ORDINALITY AS i (name, ord)
        LEFT JOIN seawall.channels c ON c.name = i.name ORDER BY i.ord;
END
$heads$;
