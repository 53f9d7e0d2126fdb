-- The key or operator that blocked or revoked first, of whose share it is.
ALTER TABLE seawall.blocks ADD COLUMN by text NOT NULL DEFAULT '';
ALTER TABLE seawall.revocations ADD COLUMN by text NOT NULL DEFAULT '';

-- Commits an order, with what it changes in the tables of blocks and revocations. Answers its number, that of the order before it
-- and its time; nothing if `most` blocks or revocations exist, or half as many of this author. The lock is held until the commit, so that a higher number is never
-- visible before a lower one: instances read the orders after the last one they know.
CREATE FUNCTION seawall.place_order(what text, arguments jsonb, author text, most bigint)
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
    END IF;
    SELECT pg_catalog.max(o.id) INTO last FROM seawall.orders AS o;
    RETURN QUERY
        INSERT INTO seawall.orders AS o (kind, args, made, by) VALUES (what, arguments, now, author)
        RETURNING o.id, coalesce(last, 0), (pg_catalog.date_part('epoch', o.made) * 1000)::bigint;
END;
$$;
