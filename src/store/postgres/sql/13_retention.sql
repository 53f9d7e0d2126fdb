-- Open streams whose deadline is over for `margin`, as far as this clock is right. In random order, so that instances begin with
-- different ones, and one that cannot be ended holds up no other. Streams whose channel is gone, because a program of the release before
-- dropped it, are closed here.
CREATE FUNCTION seawall.sweep_streams(idle bigint, orphan bigint, cancel bigint, life bigint, margin bigint, most bigint)
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
            SELECT s.*, margin + CASE s.state WHEN 2 THEN orphan WHEN 3 THEN cancel ELSE coalesce(s.idle_ms, idle) END AS wait,
                greatest(0, CASE WHEN s.since <= clock THEN s.since END,
                    CASE WHEN s.state <> 3 AND s.touched <= clock THEN s.touched END) AS last
            FROM seawall.streams s WHERE s.kept_until IS NULL
        )
        SELECT c.name, s.id, s."offset"
        FROM waits s LEFT JOIN seawall.channels c ON c.id = s.channel
        WHERE s.began < clock - life - margin OR (s.last < clock - s.wait AND (s.state = 3 OR coalesce((
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

-- Deletes parts of streams that ended long enough ago, at most `most`, and then the streams. It waits for no lock. `more`: there is
-- more to delete.
CREATE FUNCTION seawall.reap_parts(most bigint, OUT parts bigint, OUT streams bigint, OUT more boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
AS $reap_parts$
#variable_conflict use_column
DECLARE
    clock bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
    ended bigint;
    rest record;
    room bigint := most;
    gone bigint;
BEGIN
    parts := 0;
    streams := 0;
    more := false;
    -- One scan for the slice: while an old snapshot is held, it passes all the entries that were deleted meanwhile.
    FOR ended IN SELECT s.id FROM seawall.streams s WHERE s.kept_until < clock
        ORDER BY s.kept_until LIMIT most + 1 FOR UPDATE SKIP LOCKED
    LOOP
        more := room <= 0;
        EXIT WHEN more;
        SELECT p.gen, p.at INTO rest FROM seawall.stream_parts p WHERE p.stream = ended
            ORDER BY p.gen, p.at OFFSET room LIMIT 1;
        IF FOUND THEN
            more := true;
            DELETE FROM seawall.stream_parts p WHERE p.stream = ended AND (p.gen, p.at) < (rest.gen, rest.at);
            GET DIAGNOSTICS gone = ROW_COUNT;
        ELSE
            DELETE FROM seawall.stream_parts p WHERE p.stream = ended;
            GET DIAGNOSTICS gone = ROW_COUNT;
            DELETE FROM seawall.streams s WHERE s.id = ended;
            streams := streams + 1;
        END IF;
        parts := parts + gone;
        room := room - gone - 1;
    END LOOP;
END
$reap_parts$;

-- Closes the streams of a channel that is about to be dropped, and forgets their users. The caller holds the channel's lock.
CREATE FUNCTION seawall.drop_streams(in_channel bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $drop_streams$
DECLARE
    ids bigint[] := ARRAY(SELECT s.id FROM seawall.streams s WHERE s.channel = in_channel);
BEGIN
    PERFORM seawall.close_streams(ids, ids);
    UPDATE seawall.streams AS s SET author = '', asker = NULL, canceller = NULL WHERE s.id = ANY (ids);
END
$drop_streams$;

-- As before. But a channel with an open stream is not idle: retention may have deleted all its publications.
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
                AND NOT EXISTS (SELECT FROM seawall.streams s WHERE s.channel = e.id AND s.kept_until IS NULL))
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
        FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM seawall.channels c USING locked l WHERE c.id = l.id RETURNING c.head
    ) SELECT count(*), max(g.head) INTO removed, top FROM gone g;
    UPDATE seawall.meta SET value = value - removed WHERE name = 'channels';
    UPDATE seawall.meta SET value = (top + step - 1) / step * step WHERE name = 'base' AND value < top;
END
$remove_empty$;

-- As before. But a delete ends the stream that its target began, and the text of a stream goes with its begin.
CREATE OR REPLACE FUNCTION seawall.erase_publications(search seawall.erasure_searches, now_ms bigint, replacement text,
    examine integer, change integer
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $erase_publications$
#variable_conflict use_column
DECLARE
    up record;
    found_row record;
    channel record;
    subject bigint;
    begins boolean;
    open_stream record;
    closing bigint[];
    mark smallint;
    last_channel bigint;
    at_channel bigint := search.channel;
    at_offset bigint := search."offset";
    authors text[] := '{}';
    deletes bigint := 0;
    written bigint := 0;
    room bigint;
    edits bigint;
BEGIN
    SELECT p.channel, p."offset" INTO up FROM seawall.publications p
        WHERE (p.channel, p."offset") > (search.channel, search."offset")
        ORDER BY p.channel, p."offset" OFFSET examine - 1 LIMIT 1;
    IF NOT FOUND THEN
        SELECT p.channel, p."offset" INTO up FROM seawall.publications p
            WHERE (p.channel, p."offset") > (search.channel, search."offset")
            ORDER BY p.channel DESC, p."offset" DESC LIMIT 1;
    END IF;
    IF NOT FOUND THEN
        UPDATE seawall.erasure_searches s SET stage = 2, channel = 0 WHERE s.by = search."by";
        RETURN 0;
    END IF;
    -- OFFSET 0: a look-up for each row, never a join that begins with the users.
    SELECT p.channel INTO last_channel FROM seawall.publications p
        WHERE (p.channel, p."offset") > (search.channel, search."offset")
            AND (p.channel, p."offset") <= (up.channel, up."offset")
            AND EXISTS (SELECT FROM seawall.user_erasures e
                WHERE e.user_name = p.author AND e.by = search."by" AND e.searched OFFSET 0)
        ORDER BY p.channel, p."offset" LIMIT 1;
    IF last_channel IS NULL THEN
        UPDATE seawall.erasure_searches s SET channel = up.channel, "offset" = up."offset" WHERE s.by = search."by";
        RETURN 0;
    END IF;
    SELECT c.* INTO channel FROM seawall.channels c WHERE c.id = last_channel FOR NO KEY UPDATE;
    FOR found_row IN
        SELECT p."offset", p.author, p.kind, p.target, p.deleted_by FROM seawall.publications p
        WHERE (p.channel, p."offset") > (search.channel, search."offset")
            AND (p.channel, p."offset") <= (up.channel, up."offset") AND p.channel = last_channel
            AND EXISTS (SELECT FROM seawall.user_erasures e
                WHERE e.user_name = p.author AND e.by = search."by" AND e.searched OFFSET 0)
        ORDER BY p.channel, p."offset" LIMIT change
    LOOP
        EXIT WHEN written >= change * 4;
        -- The text of an edit goes with the original, also with that of another author: readers see the edit in its place.
        SELECT s."offset", s.stream IS NOT NULL INTO subject, begins FROM seawall.publications s
            WHERE s.channel = last_channel AND s.kind = 0 AND s.deleted_by IS NULL AND found_row.deleted_by IS NULL
                AND s."offset" = CASE found_row.kind WHEN 0 THEN found_row."offset" WHEN 1 THEN found_row.target END;
        IF FOUND AND channel.id IS NOT NULL THEN
            room := change * 4 - written;
            SELECT count(*) INTO edits FROM (
                SELECT FROM seawall.publications p
                WHERE p.channel = last_channel AND p.target = subject AND p.kind = 1 AND p.deleted_by IS NULL
                LIMIT room + 1) e;
            IF edits > room THEN
                -- Too many for one slice. The oldest lose their text first, as if the original were not retained.
                UPDATE seawall.publications p SET data = NULL, deleted_by = p."offset"
                    WHERE p.channel = last_channel AND p."offset" = ANY (ARRAY(
                        SELECT o."offset" FROM seawall.publications o
                        WHERE o.channel = last_channel AND o.target = subject AND o.kind = 1 AND o.deleted_by IS NULL
                        ORDER BY o."offset" LIMIT room));
                written := written + room;
                EXIT;
            END IF;
            channel.head := channel.head + 1;
            channel.time := greatest(channel.time, now_ms);
            mark := NULL;
            IF begins THEN
                SELECT s.id, s.kept_until IS NULL AS is_open INTO open_stream FROM seawall.streams s
                    WHERE s.channel = last_channel AND s."offset" = subject;
                IF FOUND THEN
                    closing := closing || open_stream.id;
                    mark := CASE WHEN open_stream.is_open THEN 7 END;
                END IF;
            END IF;
            INSERT INTO seawall.publications (channel, "offset", author, time, kind, target, data, stream)
                VALUES (last_channel, channel.head, replacement, channel.time, 2, subject, 'null', mark);
            UPDATE seawall.publications p SET data = NULL, deleted_by = channel.head
                WHERE p.channel = last_channel AND p."offset" = subject;
            UPDATE seawall.publications p SET data = NULL, deleted_by = channel.head
                WHERE p.channel = last_channel AND p.target = subject AND p.kind = 1 AND p.deleted_by IS NULL;
            deletes := deletes + 1;
            written := written + 2 + edits;
        END IF;
        -- Text that no delete removed: of deletes, and of edits whose original is not retained. Such an edit names itself
        -- as its delete.
        UPDATE seawall.publications p SET author = replacement, key = NULL,
                data = CASE WHEN p.kind = 2 THEN 'null' END,
                deleted_by = CASE WHEN p.kind <> 2 THEN coalesce(p.deleted_by, p."offset") END
            WHERE p.channel = last_channel AND p."offset" = found_row."offset";
        written := written + 1;
        authors := authors || found_row.author;
        at_channel := last_channel;
        at_offset := found_row."offset";
    END LOOP;
    IF closing IS NOT NULL THEN
        PERFORM seawall.close_streams(closing, closing);
    END IF;
    IF deletes > 0 THEN
        UPDATE seawall.channels c SET head = channel.head, time = channel.time WHERE c.id = last_channel;
    END IF;
    UPDATE seawall.user_erasures e SET publications = e.publications + n.count
        FROM (SELECT a.author, count(*) AS count FROM unnest(authors) AS a (author) GROUP BY a.author) n
        WHERE e.user_name = n.author;
    -- The rest of the channel may hold more of the users. If retention deleted the rows meanwhile, the next slice looks again.
    UPDATE seawall.erasure_searches s SET channel = at_channel, "offset" = at_offset WHERE s.by = search."by";
    RETURN deletes;
END
$erase_publications$;
