-- Deletes a locked channel's oldest publications and raises its floor.
CREATE FUNCTION seawall.cut(in_channel bigint, in_floor bigint, in_count bigint) RETURNS bigint
LANGUAGE plpgsql
AS $cut$
#variable_conflict use_column
DECLARE
    removed bigint;
BEGIN
    DELETE FROM seawall.publications WHERE channel = in_channel AND "offset" < in_floor + in_count;
    GET DIAGNOSTICS removed = ROW_COUNT;
    UPDATE seawall.channels SET floor = in_floor + in_count, oldest = (
        SELECT p.time FROM seawall.publications p
        WHERE p.channel = in_channel AND p."offset" = in_floor + in_count
    ) WHERE id = in_channel;
    RETURN removed;
END
$cut$;

-- What these channels, in the order of their names, hold over their number; `share` a channel at most.
CREATE FUNCTION seawall.cut_number(in_names text[], keep bigint, share bigint
) RETURNS TABLE (name text, removed bigint, excess bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $cut_number$
#variable_conflict use_column
DECLARE
    channel record;
BEGIN
    FOREACH name IN ARRAY in_names LOOP
        -- A channel that is busy is skipped, and noted again by its next append: to wait here would hold up those before it.
        SELECT c.* INTO channel FROM seawall.channels c WHERE c.name = cut_number.name
            FOR NO KEY UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        excess := greatest(channel.head - channel.floor + 1 - keep, 0);
        CONTINUE WHEN excess = 0;
        removed := seawall.cut(channel.id, channel.floor, least(excess, share));
        excess := greatest(excess - share, 0);
        RETURN NEXT;
    END LOOP;
END
$cut_number$;

-- What is older than `before`, at most `most` rows. It waits for no lock, so the order in which it takes them
-- does not matter; a channel that is busy has its turn with the next round.
CREATE FUNCTION seawall.cut_aged(before bigint, most bigint, OUT removed bigint, OUT more boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $cut_aged$
#variable_conflict use_column
DECLARE
    channel record;
    here bigint;
    young bigint;
    budget bigint := most;
BEGIN
    removed := 0;
    more := false;
    LOOP
        SELECT c.* INTO channel FROM seawall.channels c WHERE c.oldest < before
            ORDER BY c.oldest LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
        EXIT WHEN NOT FOUND;
        here := least(budget, channel.head - channel.floor + 1);
        SELECT min(p."offset") INTO young FROM seawall.publications p
            WHERE p.channel = channel.id AND p."offset" >= channel.floor
            AND p."offset" < channel.floor + here AND p.time >= before;
        here := coalesce(young - channel.floor, here);
        removed := removed + seawall.cut(channel.id, channel.floor, here);
        budget := budget - greatest(here, 1);
        IF budget <= 0 THEN
            more := true;
            EXIT;
        END IF;
    END LOOP;
END
$cut_aged$;

-- Looks at the next keys in order and forgets the old ones whose publication is gone. Answers where it
-- stopped; null when it came to the end.
CREATE FUNCTION seawall.sweep_keys(from_channel bigint, from_author text, from_key text, before bigint,
    most integer, OUT forgotten bigint, OUT channel bigint, OUT author text, OUT key text
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $sweep_keys$
#variable_conflict use_column
BEGIN
    SELECT k.channel, k.author, k.key INTO channel, author, key FROM seawall.keys k
        WHERE (k.channel, k.author, k.key) > (from_channel, from_author, from_key)
        ORDER BY k.channel, k.author, k.key OFFSET most - 1 LIMIT 1;
    -- Two statements: an upper bound that may be absent is no condition of an index, and the rest of the table would be read.
    IF sweep_keys.channel IS NULL THEN
        DELETE FROM seawall.keys AS k USING seawall.channels c
            WHERE (k.channel, k.author, k.key) > (from_channel, from_author, from_key)
            AND c.id = k.channel AND k.time < before AND k."offset" < c.floor;
    ELSE
        DELETE FROM seawall.keys AS k USING seawall.channels c
            WHERE (k.channel, k.author, k.key) > (from_channel, from_author, from_key)
            AND (k.channel, k.author, k.key) <= (sweep_keys.channel, sweep_keys.author, sweep_keys.key)
            AND c.id = k.channel AND k.time < before AND k."offset" < c.floor;
    END IF;
    GET DIAGNOSTICS forgotten = ROW_COUNT;
END
$sweep_keys$;
