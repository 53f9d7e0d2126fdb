-- Users whose publications and keys are being erased. stage: 0 publications, 1 keys. channel, offset: the last one examined.
-- publications, keys: how many were erased. by: the key or operator of whose share it is.
CREATE TABLE seawall.user_erasures (
    user_name text COLLATE "C" PRIMARY KEY,
    asked timestamptz NOT NULL,
    stage smallint NOT NULL DEFAULT 0,
    channel bigint NOT NULL DEFAULT 0,
    "offset" bigint NOT NULL DEFAULT 0,
    publications bigint NOT NULL DEFAULT 0,
    keys bigint NOT NULL DEFAULT 0,
    by text NOT NULL
);

-- As before, and notes a user to be erased, unless `most` erasures are not finished, or half as many of this author. A repetition
-- begins again. A block of the user stays, without its reason.
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
            ON CONFLICT (user_name) DO UPDATE SET asked = excluded.asked, stage = 0, channel = 0, "offset" = 0;
    END IF;
    SELECT pg_catalog.max(o.id) INTO last FROM seawall.orders AS o;
    RETURN QUERY
        INSERT INTO seawall.orders AS o (kind, args, made, by) VALUES (what, arguments, now, author)
        RETURNING o.id, coalesce(last, 0), (pg_catalog.date_part('epoch', o.made) * 1000)::bigint;
END;
$$;

-- Does the next part of the oldest erasure that no other instance works on: examines `examine` publications, and changes at most
-- `change` of them, all in one channel, whose lock is the only one taken of those that `append` takes. Then the keys in `examine`
-- channels. Answers the user, the number of rows that were changed, and the whole when it is done; no user if there is nothing to do.
CREATE FUNCTION seawall.erase_slice(now_ms bigint, replacement text, examine integer, change integer,
    OUT username text, OUT changed bigint, OUT ended boolean, OUT publications bigint, OUT keys bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $erase_slice$
#variable_conflict use_column
DECLARE
    erasure record;
    up record;
    found_row record;
    channel record;
    subject bigint;
    last_channel bigint;
BEGIN
    SELECT e.* INTO erasure FROM seawall.user_erasures e ORDER BY e.asked, e.user_name LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    username := erasure.user_name;
    changed := 0;
    ended := false;
    -- Readers are sent these deletes: unlike what retention deletes, they must not come back after a crash.
    PERFORM set_config('synchronous_commit', 'on', true);
    IF erasure.stage = 0 THEN
        SELECT p.channel, p."offset" INTO up FROM seawall.publications p
            WHERE (p.channel, p."offset") > (erasure.channel, erasure."offset")
            ORDER BY p.channel, p."offset" OFFSET examine - 1 LIMIT 1;
        IF NOT FOUND THEN
            SELECT p.channel, p."offset" INTO up FROM seawall.publications p
                WHERE (p.channel, p."offset") > (erasure.channel, erasure."offset")
                ORDER BY p.channel DESC, p."offset" DESC LIMIT 1;
        END IF;
        IF NOT FOUND THEN
            UPDATE seawall.user_erasures e SET stage = 1, channel = 0, "offset" = 0 WHERE e.user_name = erasure.user_name;
            RETURN;
        END IF;
        SELECT p.channel INTO last_channel FROM seawall.publications p
            WHERE (p.channel, p."offset") > (erasure.channel, erasure."offset")
                AND (p.channel, p."offset") <= (up.channel, up."offset") AND p.author = erasure.user_name
            ORDER BY p.channel, p."offset" LIMIT 1;
        IF last_channel IS NOT NULL THEN
            SELECT c.* INTO channel FROM seawall.channels c WHERE c.id = last_channel FOR NO KEY UPDATE;
            FOR found_row IN
                SELECT p.channel, p."offset", p.kind, p.target, p.deleted_by FROM seawall.publications p
                WHERE (p.channel, p."offset") > (erasure.channel, erasure."offset")
                    AND (p.channel, p."offset") <= (up.channel, up."offset")
                    AND p.channel = last_channel AND p.author = erasure.user_name
                ORDER BY p.channel, p."offset" LIMIT change
            LOOP
                -- The text of an edit goes with the original, also with that of another author: readers see the edit in its place.
                SELECT s."offset" INTO subject FROM seawall.publications s
                    WHERE s.channel = last_channel AND s.kind = 0 AND s.deleted_by IS NULL AND found_row.deleted_by IS NULL
                        AND s."offset" = CASE found_row.kind WHEN 0 THEN found_row."offset" WHEN 1 THEN found_row.target END;
                IF FOUND AND channel.id IS NOT NULL THEN
                    channel.head := channel.head + 1;
                    channel.time := greatest(channel.time, now_ms);
                    INSERT INTO seawall.publications (channel, "offset", author, time, kind, target, data)
                        VALUES (last_channel, channel.head, replacement, channel.time, 2, subject, 'null');
                    UPDATE seawall.publications p SET data = NULL, deleted_by = channel.head
                        WHERE p.channel = last_channel AND p."offset" = subject;
                    UPDATE seawall.publications p SET data = NULL, deleted_by = channel.head
                        WHERE p.channel = last_channel AND p.target = subject AND p.kind = 1;
                END IF;
                -- Text that no delete removed: of deletes, and of edits whose original is not retained. Such an edit names itself
                -- as its delete.
                UPDATE seawall.publications p SET author = replacement, key = NULL,
                        data = CASE WHEN p.kind = 2 THEN 'null' END,
                        deleted_by = CASE WHEN p.kind <> 2 THEN coalesce(p.deleted_by, p."offset") END
                    WHERE p.channel = last_channel AND p."offset" = found_row."offset";
                changed := changed + 1;
                erasure."offset" := found_row."offset";
            END LOOP;
            IF changed = 0 THEN
                -- Retention deleted them meanwhile. The next slice looks again from the same place.
                RETURN;
            END IF;
            UPDATE seawall.channels c SET head = channel.head, time = channel.time WHERE c.id = last_channel;
            -- The rest of the channel may hold more of the user.
            up.channel := last_channel;
            up."offset" := erasure."offset";
        END IF;
        UPDATE seawall.user_erasures e SET channel = up.channel, "offset" = up."offset",
                publications = e.publications + changed
            WHERE e.user_name = erasure.user_name;
        RETURN;
    END IF;
    SELECT max(c.id) INTO last_channel FROM (
        SELECT c.id FROM seawall.channels c WHERE c.id > erasure.channel ORDER BY c.id LIMIT examine) c;
    DELETE FROM seawall.keys AS k USING seawall.channels c
        WHERE c.id > erasure.channel AND c.id <= last_channel AND k.channel = c.id AND k.author = erasure.user_name;
    GET DIAGNOSTICS changed = ROW_COUNT;
    publications := erasure.publications;
    keys := erasure.keys + changed;
    ended := last_channel IS NULL;
    IF ended THEN
        DELETE FROM seawall.user_erasures e WHERE e.user_name = erasure.user_name;
    ELSE
        UPDATE seawall.user_erasures e SET channel = last_channel, keys = erasure.keys + changed
            WHERE e.user_name = erasure.user_name;
    END IF;
END
$erase_slice$;
