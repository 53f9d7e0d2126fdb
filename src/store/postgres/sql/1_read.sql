-- A page, and where its log stands, in one statement and so in one snapshot. There is always a first row; its
-- offset is null when the page is empty, its head when there is no such channel. The server stops at the
-- bound in bytes; the caller, who knows what encoding adds, cuts exactly.
CREATE FUNCTION seawall.page(in_name text, in_after bigint, in_below bigint, backwards boolean,
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
        RETURN QUERY SELECT c.head, c.floor, m.value, p."offset", p.author, p.key, p.time, p.kind, p.target,
            p.deleted_by, p.data
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
        RETURN QUERY SELECT c.head, c.floor, m.value, p."offset", p.author, p.key, p.time, p.kind, p.target,
            p.deleted_by, p.data
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

-- Where logs stand, in the order asked; nulls for a channel that never had a publication.
CREATE FUNCTION seawall.heads(in_names text[]
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
    RETURN QUERY SELECT c.head, c.floor, (SELECT m.value FROM seawall.meta m WHERE m.name = 'epoch')
        FROM unnest(in_names) WITH ORDINALITY AS i (name, ord)
        LEFT JOIN seawall.channels c ON c.name = i.name ORDER BY i.ord;
END
$heads$;
