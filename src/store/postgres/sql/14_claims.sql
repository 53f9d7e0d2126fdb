-- The requests of the relay. What they read may change until they write, so they write only where the fence and the cursor are still as
-- they were read.

-- The channels that wait, in the order of their times, after the given place. A claim that is over is none.
CREATE FUNCTION seawall.relay_due(after_next bigint, after_channel bigint, most integer)
RETURNS TABLE (channel bigint, name text, attempts integer, next bigint, oldest bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $relay_due$
#variable_conflict use_column
DECLARE
    clock bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
BEGIN
    RETURN QUERY SELECT r.channel, c.name, r.attempts, r.next, p.time
        FROM seawall.relays r
        LEFT JOIN seawall.channels c ON c.id = r.channel
        LEFT JOIN seawall.publications p ON p.channel = r.channel AND p."offset" = r."cursor" + 1
        WHERE r."cursor" < r.head AND (r.next, r.channel) > (after_next, after_channel) AND r.next <= clock
            AND r.taken_until < clock
        ORDER BY r.next, r.channel LIMIT most;
END
$relay_due$;

-- The time until the next channel becomes due by itself, or its claim ends.
CREATE FUNCTION seawall.relay_next() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $relay_next$
DECLARE
    clock bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
BEGIN
    RETURN (SELECT r.next - clock FROM seawall.relays r WHERE r."cursor" < r.head AND r.next > clock
            ORDER BY r.next LIMIT 1);
END
$relay_next$;

-- Has channels without a route wait, and notes what retention has removed of them unsent.
CREATE FUNCTION seawall.relay_defer(in_channels bigint[], wait bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $relay_defer$
DECLARE
    clock bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
BEGIN
    PERFORM FROM seawall.relays r WHERE r.channel = ANY (in_channels) ORDER BY r.channel FOR NO KEY UPDATE;
    UPDATE seawall.relays AS r SET next = clock + wait WHERE r.channel = ANY (in_channels);
    PERFORM seawall.relay_expire(in_channels);
END
$relay_defer$;

-- Notes that retention has removed all that waits in these channels, whose rows the caller has locked. Forgets those that do not exist.
CREATE FUNCTION seawall.relay_expire(in_channels bigint[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $relay_expire$
DECLARE
    clock bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
BEGIN
    DELETE FROM seawall.relays r WHERE r.channel = ANY (in_channels)
        AND NOT EXISTS (SELECT FROM seawall.channels c WHERE c.id = r.channel);
    WITH gone AS (
        SELECT r.channel, c.name, r."cursor" + 1 AS first, r.head AS last
        FROM seawall.relays r JOIN seawall.channels c ON c.id = r.channel
        WHERE r.channel = ANY (in_channels) AND r."cursor" < r.head AND c.floor > r.head
    ), noted AS (
        INSERT INTO seawall.relay_dead (channel, "offset", through, route, cause, time)
        SELECT g.name, g.first, g.last, '', 3, clock FROM gone g
    ), dropped AS (
        DELETE FROM seawall.relay_claims k USING gone g WHERE k.channel = g.channel AND k."offset" <= g.last
    )
    UPDATE seawall.relays AS r SET "cursor" = g.last, attempts = 0 FROM gone g WHERE r.channel = g.channel;
END
$relay_expire$;

-- The rows of channels by name. What is not there is null.
CREATE FUNCTION seawall.relay_look(in_names text[])
RETURNS TABLE (ord bigint, channel bigint, floor bigint, head bigint, "cursor" bigint, attempts integer, next bigint,
    taken_by bigint, taken_until bigint, fence bigint, clock bigint, epoch bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $relay_look$
#variable_conflict use_column
DECLARE
    now_ms bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
BEGIN
    RETURN QUERY SELECT i.ord, r.channel, c.floor, r.head, r."cursor", r.attempts, r.next, r.taken_by, r.taken_until, r.fence,
            now_ms, (SELECT m.value FROM seawall.meta m WHERE m.name = 'epoch')
        FROM unnest(in_names) WITH ORDINALITY AS i (name, ord)
        LEFT JOIN seawall.channels c ON c.name = i.name
        LEFT JOIN seawall.relays r ON r.channel = c.id
        ORDER BY i.ord;
END
$relay_look$;

-- Publications after a place of each channel, without their text.
CREATE FUNCTION seawall.relay_scan(in_channels bigint[], in_after bigint[], in_through bigint[], most integer)
RETURNS TABLE (ord bigint, "offset" bigint, author text, kind smallint, target bigint, stream smallint, is_deleted boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $relay_scan$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT i.ord, f."offset", f.author, f.kind, f.target, f.stream, f.deleted_by IS NOT NULL
        FROM unnest(in_channels, in_after, in_through) WITH ORDINALITY AS i (channel, after, through, ord)
        CROSS JOIN LATERAL (
            SELECT p.* FROM seawall.publications p
            WHERE p.channel = i.channel AND p."offset" > i.after AND p."offset" <= i.through ORDER BY p."offset" LIMIT most
        ) f ORDER BY i.ord, f."offset";
END
$relay_scan$;

-- Publications to send, each with its answer by `in_answerers`. in_answered: their routes have answers, so a begin after a question is one
-- though its data was deleted. has_answer: it has one, and then gen and state are null if that has ended; "end" and failed are the mark and
-- the data of its end if it failed (3) or was interrupted (5). waits: an earlier stream of that user is open, which can still end: no backend
-- will take a question that is deleted or not retained.
CREATE FUNCTION seawall.relay_fetch(in_channels bigint[], in_offsets bigint[], in_answerers text[], in_answered boolean[])
RETURNS TABLE (ord bigint, author text, key text, stamp bigint, kind smallint, target bigint, data text, claims text,
    has_answer boolean, gen integer, state smallint, end_mark smallint, failed text, waits boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $relay_fetch$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT i.ord, p.author, p.key, p.time, p.kind, p.target, p.data, k.claims,
            a.channel IS NOT NULL, s.gen, s.state, e.stream, e.data,
            EXISTS (SELECT FROM seawall.streams o WHERE o.channel = i.channel AND o."offset" < i."offset"
                    AND o.kept_until IS NULL AND o.author = i.answerer
                    AND (o.state <> 4 OR EXISTS (SELECT FROM seawall.publications q
                         WHERE q.channel = o.channel AND q."offset" = o."offset" - 1 AND q.deleted_by IS NULL)))
        FROM unnest(in_channels, in_offsets, in_answerers, in_answered) WITH ORDINALITY
            AS i (channel, "offset", answerer, answered, ord)
        JOIN seawall.publications p ON p.channel = i.channel AND p."offset" = i."offset"
        LEFT JOIN seawall.relay_claims k ON k.channel = i.channel AND k."offset" = i."offset"
        LEFT JOIN seawall.publications a ON a.channel = i.channel AND a."offset" = i."offset" + 1 AND a.stream = 1
            AND p.kind = 0 AND a.author = i.answerer
            AND (a.data = seawall.answer_data(i."offset") OR (a.deleted_by IS NOT NULL AND i.answered))
        LEFT JOIN seawall.streams s ON s.channel = a.channel AND s."offset" = a."offset" AND s.kept_until IS NULL
        LEFT JOIN LATERAL (
            SELECT n.stream, n.data FROM seawall.publications n
            WHERE n.channel = a.channel AND n.target = a."offset" AND n.stream IN (3, 5) ORDER BY n."offset" LIMIT 1
        ) e ON true
        ORDER BY i.ord;
END
$relay_fetch$;

-- Writes rows whose fence and cursor are as they were read. take: claims the channel for `in_by`, unless another process has it. bump: ends
-- the claim of any process. A claim of another one that is over ends with each write. wait: until the next attempt; null leaves it. Answers the channels that are written.
CREATE FUNCTION seawall.relay_write(in_by bigint, lease bigint,
    in_channels bigint[], in_fences bigint[], in_cursors bigint[],
    new_cursors bigint[], new_attempts integer[], new_waits bigint[], new_takes boolean[], new_bumps boolean[],
    dead_channels bigint[], dead_names text[], dead_offsets bigint[], dead_throughs bigint[], dead_routes text[],
    dead_causes smallint[], dead_statuses integer[]
) RETURNS SETOF bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $relay_write$
DECLARE
    clock bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
    stored bigint[];
BEGIN
    PERFORM FROM seawall.relays r WHERE r.channel = ANY (in_channels) ORDER BY r.channel FOR NO KEY UPDATE;
    WITH written AS (
        UPDATE seawall.relays AS r SET "cursor" = n."cursor", attempts = n.attempts, next = coalesce(clock + n.wait, r.next),
                taken_by = CASE WHEN n.take THEN in_by END, taken_until = CASE WHEN n.take THEN clock + lease ELSE 0 END,
                fence = r.fence + CASE WHEN n.take OR n.bump OR coalesce(r.taken_by <> in_by, false) THEN 1 ELSE 0 END
            FROM unnest(in_channels, in_fences, in_cursors, new_cursors, new_attempts, new_waits, new_takes, new_bumps)
                AS n (channel, fence, known, "cursor", attempts, wait, take, bump)
            WHERE r.channel = n.channel AND r.fence = n.fence AND r."cursor" = n.known
                AND (n.bump OR r.taken_by IS NULL OR r.taken_by = in_by OR r.taken_until < clock)
            RETURNING r.channel
    ) SELECT array_agg(w.channel) INTO stored FROM written w;
    IF cardinality(dead_channels) > 0 THEN
        INSERT INTO seawall.relay_dead (channel, "offset", through, route, cause, status, time)
            SELECT d.name, d."offset", d.through, d.route, d.cause, d.status, clock
            FROM unnest(dead_channels, dead_names, dead_offsets, dead_throughs, dead_routes, dead_causes, dead_statuses)
                WITH ORDINALITY AS d (channel, name, "offset", through, route, cause, status, ord)
            WHERE d.channel = ANY (stored) ORDER BY d.ord;
    END IF;
    DELETE FROM seawall.relay_claims k USING unnest(in_channels, in_cursors, new_cursors) AS n (channel, known, "cursor")
        WHERE k.channel = n.channel AND k."offset" > n.known AND k."offset" <= n."cursor" AND n.channel = ANY (stored);
    RETURN QUERY SELECT unnest(stored);
END
$relay_write$;

-- Prolongs claims. Answers the places of those that are lost.
CREATE FUNCTION seawall.relay_renew(in_by bigint, lease bigint, in_names text[], in_fences bigint[]) RETURNS SETOF bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $relay_renew$
DECLARE
    clock bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
    kept bigint[];
BEGIN
    PERFORM FROM seawall.relays r
        WHERE r.channel = ANY (ARRAY(SELECT c.id FROM seawall.channels c WHERE c.name = ANY (in_names)))
        ORDER BY r.channel FOR NO KEY UPDATE;
    WITH renewed AS (
        UPDATE seawall.relays AS r SET taken_until = clock + lease
            FROM unnest(in_names, in_fences) WITH ORDINALITY AS i (name, fence, ord) JOIN seawall.channels c ON c.name = i.name
            WHERE r.channel = c.id AND r.fence = i.fence AND r.taken_by = in_by
            RETURNING i.ord
    ) SELECT array_agg(n.ord) INTO kept FROM renewed n;
    RETURN QUERY SELECT i.ord FROM unnest(in_names) WITH ORDINALITY AS i (name, ord)
        WHERE (i.ord = ANY (kept)) IS NOT TRUE ORDER BY i.ord;
END
$relay_renew$;

-- Ends all claims of a process. Answers how many there were.
CREATE FUNCTION seawall.relay_release(in_by bigint) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $relay_release$
DECLARE
    released bigint;
BEGIN
    PERFORM FROM seawall.relays r WHERE r.taken_by = in_by ORDER BY r.channel FOR NO KEY UPDATE;
    UPDATE seawall.relays AS r SET taken_by = NULL, taken_until = 0, fence = r.fence + 1 WHERE r.taken_by = in_by;
    GET DIAGNOSTICS released = ROW_COUNT;
    RETURN released;
END
$relay_release$;

-- All channels that wait, at most `most`. is_taken: a process has it.
CREATE FUNCTION seawall.relay_status(most integer)
RETURNS TABLE (name text, head bigint, "cursor" bigint, attempts integer, oldest bigint, is_taken boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $relay_status$
#variable_conflict use_column
DECLARE
    clock bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
BEGIN
    RETURN QUERY SELECT c.name, r.head, r."cursor", r.attempts, p.time, r.taken_until >= clock
        FROM seawall.relays r JOIN seawall.channels c ON c.id = r.channel
        LEFT JOIN seawall.publications p ON p.channel = r.channel AND p."offset" = r."cursor" + 1
        WHERE r."cursor" < r.head ORDER BY r.next, r.channel LIMIT most;
END
$relay_status$;

-- Deletes dead letters that are older than `age` or of which there are more than `most`, the oldest first. Answers how many.
CREATE FUNCTION seawall.relay_reap_dead(age bigint, most bigint, rows integer) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $relay_reap_dead$
DECLARE
    clock bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
    deleted bigint;
BEGIN
    DELETE FROM seawall.relay_dead d
        WHERE d.number IN (SELECT o.number FROM seawall.relay_dead o ORDER BY o.number LIMIT rows)
            AND (d.time < clock - age OR d.number <= (SELECT max(o.number) FROM seawall.relay_dead o) - most);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$relay_reap_dead$;

-- Deletes rows of channels that do not exist, and claims whose publication is gone. Notes what retention removed unsent where nothing
-- looks at the channel for an hour. Waits for no lock. Answers the channel to go on after; null at the end.
CREATE FUNCTION seawall.relay_reap(from_channel bigint, rows integer) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $relay_reap$
DECLARE
    clock bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
    looked bigint[];
    idle bigint[];
BEGIN
    looked := ARRAY(SELECT r.channel FROM seawall.relays r WHERE r.channel > from_channel ORDER BY r.channel LIMIT rows);
    idle := ARRAY(SELECT r.channel FROM seawall.relays r WHERE r.channel = ANY (looked)
            AND (r."cursor" >= r.head OR r.next < clock - 3600000) AND r.taken_until < clock
        ORDER BY r.channel FOR NO KEY UPDATE SKIP LOCKED);
    PERFORM seawall.relay_expire(idle);
    DELETE FROM seawall.relay_claims k USING (
            SELECT c.channel, c."offset" FROM seawall.relay_claims c WHERE c.channel = ANY (idle)
                AND NOT EXISTS (SELECT FROM seawall.publications p
                                WHERE p.channel = c.channel AND p."offset" = c."offset" AND p.deleted_by IS NULL)
            ORDER BY c.channel, c."offset" LIMIT rows
        ) few WHERE k.channel = few.channel AND k."offset" = few."offset";
    RETURN CASE WHEN cardinality(looked) >= rows THEN looked[cardinality(looked)] END;
END
$relay_reap$;

-- Removes everything of a channel that is about to be dropped.
CREATE FUNCTION seawall.relay_drop(in_channel bigint, in_name text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $relay_drop$
BEGIN
    DELETE FROM seawall.relays r WHERE r.channel = in_channel;
    DELETE FROM seawall.relay_claims k WHERE k.channel = in_channel;
    DELETE FROM seawall.relay_dead d WHERE d.channel = in_name;
END
$relay_drop$;
