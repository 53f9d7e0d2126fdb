-- As `append`, with a bound on the retained edits of one original. The bound holds for this transaction.
CREATE FUNCTION seawall.append_bounded(
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
    RETURN QUERY SELECT * FROM seawall.append(now_ms, channels_max, in_names, in_authors, in_keys, in_kinds,
        in_targets, in_moderates, in_digests, in_texts);
END
$append_bounded$;

-- One edit or delete, in a channel that the caller has locked. An original has a bounded number of retained
-- edits: status 6.
CREATE OR REPLACE FUNCTION seawall.change(
    now_ms bigint, in_name text, in_author text, in_key text, in_kind smallint, in_target bigint,
    in_moderates boolean, in_digest bytea, in_text text,
    OUT status smallint, OUT out_offset bigint, OUT out_time bigint, OUT out_floor bigint
)
LANGUAGE plpgsql
AS $change$
#variable_conflict use_column
DECLARE
    channel record;
    known record;
    subject record;
    edits_max bigint := nullif(current_setting('seawall.edits_max', true), '');
BEGIN
    -- Locked before, if it was there: our own lock is not skipped. One that was made meanwhile is not ours to number in.
    SELECT c.* INTO channel FROM seawall.channels c WHERE c.name = in_name FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        status := 3;
        RETURN;
    END IF;
    out_floor := channel.floor;
    IF in_key IS NOT NULL THEN
        SELECT k.* INTO known FROM seawall.keys k
            WHERE k.channel = channel.id AND k.author = in_author AND k.key = in_key;
        IF FOUND THEN
            status := CASE WHEN known.digest = in_digest THEN 1 ELSE 2 END;
            out_offset := known."offset";
            out_time := known.time;
            RETURN;
        END IF;
    END IF;
    SELECT p.kind = 0 AND p.deleted_by IS NULL AS whole, p.author = in_author AS own INTO subject
        FROM seawall.publications p
        WHERE p.channel = channel.id AND p."offset" = in_target AND p."offset" >= channel.floor;
    IF NOT FOUND OR NOT subject.whole THEN
        status := 3;
        RETURN;
    ELSIF NOT subject.own AND NOT in_moderates THEN
        status := 4;
        RETURN;
    ELSIF in_kind = 1 AND edits_max <= (
        SELECT count(*) FROM (
            SELECT FROM seawall.publications p
            WHERE p.channel = channel.id AND p.target = in_target AND p.kind = 1 LIMIT edits_max
        ) e
    ) THEN
        status := 6;
        RETURN;
    END IF;
    status := 0;
    out_offset := channel.head + 1;
    out_time := greatest(channel.time, now_ms);
    INSERT INTO seawall.publications (channel, "offset", author, key, time, kind, target, data)
        VALUES (channel.id, out_offset, in_author, in_key, out_time, in_kind, in_target, in_text);
    IF in_key IS NOT NULL THEN
        INSERT INTO seawall.keys (channel, author, key, "offset", time, digest)
            VALUES (channel.id, in_author, in_key, out_offset, out_time, in_digest);
    END IF;
    UPDATE seawall.channels SET head = out_offset, time = out_time WHERE id = channel.id;
    IF in_kind = 2 THEN
        -- The text goes, the rows stay: offsets have no gaps.
        UPDATE seawall.publications SET data = NULL, deleted_by = out_offset
            WHERE channel = channel.id AND "offset" = in_target;
        UPDATE seawall.publications SET data = NULL, deleted_by = out_offset
            WHERE channel = channel.id AND target = in_target AND kind = 1;
    END IF;
END
$change$;
