-- Users whose publications and keys are being erased. by: the key or operator of whose share it is. searched: the search in progress
-- is for this user, too. publications, keys: how many were erased.
CREATE TABLE seawall.user_erasures (
    user_name text COLLATE "C" PRIMARY KEY,
    by text COLLATE "C" NOT NULL,
    asked timestamptz NOT NULL,
    searched boolean NOT NULL DEFAULT false,
    publications bigint NOT NULL DEFAULT 0,
    keys bigint NOT NULL DEFAULT 0
);
CREATE INDEX user_erasures_by_author ON seawall.user_erasures (by, searched, asked);

-- One search of the log for each key or operator with unfinished erasures, for many users at once. stage: 0 not begun,
-- 1 publications, 2 keys, 3 about to end. channel, offset, author, key: the last publication or key that was examined.
CREATE TABLE seawall.erasure_searches (
    by text COLLATE "C" PRIMARY KEY,
    stage smallint NOT NULL DEFAULT 0,
    channel bigint NOT NULL DEFAULT 0,
    "offset" bigint NOT NULL DEFAULT 0,
    author text COLLATE "C" NOT NULL DEFAULT '',
    key text COLLATE "C" NOT NULL DEFAULT ''
);

-- As before, and notes a user to be erased, unless `most` erasures are not finished, or half as many of this author. After a
-- repetition, another search begins for this user. A block of the user stays, without its reason.
CREATE OR REPLACE FUNCTION seawall.place_order(what text, arguments jsonb, author text, most bigint)
RETURNS TABLE (number bigint, previous bigint, made_ms bigint)
LANGUAGE plpgsql
AS $$
DECLARE
    username text := arguments ->> 'user';
    ends timestamptz := pg_catalog.to_timestamp((arguments ->> 'until')::double precision / 1000);
    token_kind smallint := CASE WHEN arguments ? 'jti' THEN 0 ELSE 1 END;
    token_name text := coalesce(arguments ->> 'jti', username);
    last bigint;
    now timestamptz;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(6009316305720339506);
    now := pg_catalog.clock_timestamp();
    IF what = 'block' THEN
        IF NOT EXISTS (SELECT FROM seawall.blocks AS b WHERE b.user_name = username)
            AND (SELECT pg_catalog.count(*) >= most OR pg_catalog.count(*) FILTER (WHERE b.by = author) >= most / 2
                FROM seawall.blocks AS b) THEN
            RETURN;
        END IF;
        INSERT INTO seawall.blocks (user_name, until, reason, made, by)
            VALUES (username, ends, arguments ->> 'reason', now, author)
            ON CONFLICT (user_name)
            DO UPDATE SET until = excluded.until, reason = excluded.reason, made = excluded.made;
    ELSIF what = 'unblock' THEN
        DELETE FROM seawall.blocks AS b WHERE b.user_name = username;
    ELSIF what = 'revoke' THEN
        IF NOT EXISTS (SELECT FROM seawall.revocations AS r WHERE r.kind = token_kind AND r.name = token_name)
            AND (SELECT pg_catalog.count(*) >= most OR pg_catalog.count(*) FILTER (WHERE r.by = author) >= most / 2
                FROM seawall.revocations AS r) THEN
            RETURN;
        END IF;
        INSERT INTO seawall.revocations AS known (kind, name, issued_before, until, by)
            VALUES (token_kind, token_name,
                pg_catalog.to_timestamp((arguments ->> 'issued_before')::double precision / 1000), ends, author)
            ON CONFLICT (kind, name)
            DO UPDATE SET issued_before = greatest(known.issued_before, excluded.issued_before),
                until = greatest(known.until, excluded.until);
    ELSIF what = 'erase' THEN
        IF NOT EXISTS (SELECT FROM seawall.user_erasures AS e WHERE e.user_name = username)
            AND (SELECT pg_catalog.count(*) >= most OR pg_catalog.count(*) FILTER (WHERE e.by = author) >= most / 2
                FROM seawall.user_erasures AS e) THEN
            RETURN;
        END IF;
        UPDATE seawall.blocks AS b SET reason = '' WHERE b.user_name = username;
        INSERT INTO seawall.user_erasures (user_name, asked, by) VALUES (username, now, author)
            ON CONFLICT (user_name) DO UPDATE SET asked = excluded.asked, searched = false;
        INSERT INTO seawall.erasure_searches (by)
            SELECT e.by FROM seawall.user_erasures AS e
            WHERE e.user_name = username
                AND NOT EXISTS (SELECT FROM seawall.erasure_searches AS s WHERE s.by = e.by);
    END IF;
    SELECT pg_catalog.max(o.id) INTO last FROM seawall.orders AS o;
    RETURN QUERY
        INSERT INTO seawall.orders AS o (kind, args, made, by) VALUES (what, arguments, now, author)
        RETURNING o.id, coalesce(last, 0), (pg_catalog.date_part('epoch', o.made) * 1000)::bigint;
END;
$$;

-- Begins a search for the oldest erasures of this author. They wait until publications are settled that the gateway had taken
-- before them. False if there is nothing to do yet.
CREATE FUNCTION seawall.begin_search(requester text, settle_ms bigint) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $begin_search$
DECLARE
    settled timestamptz := clock_timestamp() - settle_ms * interval '1 ms';
BEGIN
    -- A time in the future is that of a clock that was wrong.
    UPDATE seawall.user_erasures e SET searched = true WHERE e.user_name = ANY (ARRAY(
        SELECT o.user_name FROM seawall.user_erasures o
        WHERE o.by = requester AND NOT o.searched AND (o.asked <= settled OR o.asked > clock_timestamp())
        ORDER BY o.asked LIMIT 1000));
    IF FOUND THEN
        UPDATE seawall.erasure_searches s SET stage = 1 WHERE s.by = requester;
        RETURN true;
    ELSIF NOT EXISTS (SELECT FROM seawall.user_erasures e WHERE e.by = requester) THEN
        UPDATE seawall.erasure_searches s SET stage = 3 WHERE s.by = requester;
        RETURN true;
    END IF;
    RETURN false;
END
$begin_search$;

-- Examines the next `examine` publications of a search, and erases at most `change` of them, all in one channel, whose lock is the
-- only one taken of those that `append` takes. It writes at most about `change` * 4 rows, edits included. Answers the number of deletes.
CREATE FUNCTION seawall.erase_publications(search seawall.erasure_searches, now_ms bigint, replacement text,
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
        SELECT s."offset" INTO subject FROM seawall.publications s
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
            INSERT INTO seawall.publications (channel, "offset", author, time, kind, target, data)
                VALUES (last_channel, channel.head, replacement, channel.time, 2, subject, 'null');
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

-- Examines the next `examine` keys of a search, and deletes those of its users.
CREATE FUNCTION seawall.erase_keys(search seawall.erasure_searches, examine integer) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $erase_keys$
#variable_conflict use_column
DECLARE
    up record;
BEGIN
    SELECT k.channel, k.author, k.key INTO up FROM seawall.keys k
        WHERE (k.channel, k.author, k.key) > (search.channel, search.author, search.key)
        ORDER BY k.channel, k.author, k.key OFFSET examine - 1 LIMIT 1;
    IF NOT FOUND THEN
        SELECT k.channel, k.author, k.key INTO up FROM seawall.keys k
            WHERE (k.channel, k.author, k.key) > (search.channel, search.author, search.key)
            ORDER BY k.channel DESC, k.author DESC, k.key DESC LIMIT 1;
    END IF;
    IF NOT FOUND THEN
        UPDATE seawall.erasure_searches s SET stage = 3 WHERE s.by = search."by";
        RETURN;
    END IF;
    WITH gone AS (
        DELETE FROM seawall.keys AS k
        WHERE (k.channel, k.author, k.key) > (search.channel, search.author, search.key)
            AND (k.channel, k.author, k.key) <= (up.channel, up.author, up.key)
            AND EXISTS (SELECT FROM seawall.user_erasures e
                WHERE e.user_name = k.author AND e.by = search."by" AND e.searched OFFSET 0)
        RETURNING k.author
    ) UPDATE seawall.user_erasures e SET keys = e.keys + n.count
        FROM (SELECT g.author, count(*) AS count FROM gone g GROUP BY g.author) n
        WHERE e.user_name = n.author;
    UPDATE seawall.erasure_searches s SET channel = up.channel, author = up.author, key = up.key
        WHERE s.by = search."by";
END
$erase_keys$;

-- Ends a search. Readers keep publications in memory that were changed without a delete: an order has all instances drop them. The
-- caller holds the lock of `place_order`.
CREATE FUNCTION seawall.end_search(requester text, OUT users text[], OUT publications bigint[], OUT keys bigint[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $end_search$
#variable_conflict use_column
BEGIN
    WITH gone AS (
        DELETE FROM seawall.user_erasures e WHERE e.by = requester AND e.searched
        RETURNING e.user_name, e.publications, e.keys
    ) SELECT array_agg(g.user_name), array_agg(g.publications), array_agg(g.keys) INTO users, publications, keys
        FROM gone g;
    IF users IS NOT NULL THEN
        INSERT INTO seawall.orders (kind, args, made, by) VALUES ('erased', '{}', clock_timestamp(), requester);
    END IF;
    DELETE FROM seawall.erasure_searches s
        WHERE s.by = requester AND NOT EXISTS (SELECT FROM seawall.user_erasures e WHERE e.by = requester);
    UPDATE seawall.erasure_searches s SET stage = 0, channel = 0, "offset" = 0, author = '', key = ''
        WHERE s.by = requester;
END
$end_search$;

-- Does the next part of the search for this requester's erasures, unless another instance works on it. Answers how many deletes
-- it made, and the users whose erasure has ended, with the numbers of their publications and keys. `worked` is false if there is
-- nothing to do now.
CREATE FUNCTION seawall.erase_slice(requester text, now_ms bigint, replacement text, settle_ms bigint,
    examine integer, change integer,
    OUT worked boolean, OUT deletes bigint, OUT users text[], OUT publications bigint[], OUT keys bigint[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $erase_slice$
#variable_conflict use_column
DECLARE
    search seawall.erasure_searches;
    ends boolean;
BEGIN
    worked := false;
    deletes := 0;
    -- `place_order` takes this lock before any row, so the end of a search does, too.
    SELECT s.stage = 3 INTO ends FROM seawall.erasure_searches s WHERE s.by = requester;
    IF ends THEN
        PERFORM pg_advisory_xact_lock(6009316305720339506);
    END IF;
    SELECT s.* INTO search FROM seawall.erasure_searches s WHERE s.by = requester FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    worked := true;
    -- Readers are sent these deletes: unlike what retention deletes, they must not come back after a crash.
    PERFORM set_config('synchronous_commit', 'on', true);
    IF search.stage = 0 THEN
        worked := seawall.begin_search(requester, settle_ms);
    ELSIF search.stage = 1 THEN
        deletes := seawall.erase_publications(search, now_ms, replacement, examine, change);
    ELSIF search.stage = 2 THEN
        PERFORM seawall.erase_keys(search, examine);
    ELSIF ends THEN
        SELECT e.users, e.publications, e.keys INTO users, publications, keys FROM seawall.end_search(requester) e;
    END IF;
END
$erase_slice$;
