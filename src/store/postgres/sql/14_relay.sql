-- Publications that a backend gets. The log is the queue: a channel's row says how far the backend got.

-- As before, and after the keys of parts: rows of `relays` by channel. Whoever holds one waits for nothing else.

-- head: the newest publication that may have to be sent. "cursor": the last one that is done. attempts: to send the one after the cursor.
-- next: the time of the next attempt. taken_by, taken_until: the process that sends it, and the end of its claim unless it is renewed.
-- fence: the number of the last claim; only its holder moves the cursor. Times are those of this server's clock, in Unix milliseconds.
CREATE TABLE seawall.relays (
    channel bigint PRIMARY KEY,
    head bigint NOT NULL,
    "cursor" bigint NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    next bigint NOT NULL,
    taken_by bigint,
    taken_until bigint NOT NULL DEFAULT 0,
    fence bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX relays_waiting ON seawall.relays (next, channel) WHERE "cursor" < head;
CREATE INDEX relays_taken ON seawall.relays (taken_by) WHERE taken_by IS NOT NULL;

-- Claims of tokens that go with a publication, as JSON, until it is done.
CREATE TABLE seawall.relay_claims (
    channel bigint NOT NULL,
    "offset" bigint NOT NULL,
    claims text NOT NULL,
    PRIMARY KEY (channel, "offset")
);

-- Publications that were not delivered. through: the last one of several that retention removed. cause: 1 refused, 2 not delivered,
-- 3 expired, 4 skipped. status: of the response that refused it.
CREATE TABLE seawall.relay_dead (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel text COLLATE "C" NOT NULL,
    "offset" bigint NOT NULL,
    through bigint NOT NULL,
    route text COLLATE "C" NOT NULL,
    cause smallint NOT NULL,
    status integer,
    time bigint NOT NULL
);
CREATE INDEX relay_dead_by_route ON seawall.relay_dead (route, number);

-- The data of the begin of the answer to a question.
CREATE FUNCTION seawall.answer_data(question bigint) RETURNS text
LANGUAGE sql IMMUTABLE
AS $answer_data$ SELECT '{"answers":' || question || '}' $answer_data$;

-- One original that is to be sent, in a channel that the caller has locked, and the begin of its answer by `in_answerer`, unless that is
-- null. The caller notes it with `raise_relays`. A repeat finds the answer of the first.
CREATE FUNCTION seawall.ask(
    now_ms bigint, in_name text, in_author text, in_key text, in_digest bytea, in_text text,
    in_answerer text, in_give_up bigint, in_answer_time bigint, open_max bigint,
    OUT status smallint, OUT out_offset bigint, OUT out_time bigint, OUT out_floor bigint, OUT out_answer bigint
)
LANGUAGE plpgsql
AS $ask$
#variable_conflict use_column
DECLARE
    clock bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
    channel record;
    known record;
    is_full boolean;
BEGIN
    SELECT c.* INTO channel FROM seawall.channels c WHERE c.name = in_name FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        status := 5;
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
            SELECT p."offset" INTO out_answer FROM seawall.publications p
                WHERE p.channel = channel.id AND p."offset" = known."offset" + 1 AND p.stream = 1 AND p.author = in_answerer
                    AND (p.deleted_by IS NOT NULL OR p.data = seawall.answer_data(known."offset")) AND status = 1;
            RETURN;
        END IF;
    END IF;
    IF in_answerer IS NOT NULL THEN
        -- The answers to one user are at most half, so that one user with a backend that is down does not keep others from asking.
        SELECT count(*) >= open_max
                OR count(*) FILTER (WHERE o.author = in_answerer AND o.asker = in_author) >= (open_max + 1) / 2
            INTO is_full FROM (
                SELECT s.author, s.asker FROM seawall.streams s
                WHERE s.channel = channel.id AND s.kept_until IS NULL LIMIT open_max
            ) o;
        IF is_full THEN
            status := 7;
            RETURN;
        END IF;
    END IF;
    status := 0;
    out_offset := channel.head + 1;
    out_time := greatest(channel.time, now_ms);
    INSERT INTO seawall.publications (channel, "offset", author, key, time, kind, data)
        VALUES (channel.id, out_offset, in_author, in_key, out_time, 0, in_text);
    IF in_key IS NOT NULL THEN
        INSERT INTO seawall.keys (channel, author, key, "offset", time, digest)
            VALUES (channel.id, in_author, in_key, out_offset, out_time, in_digest);
    END IF;
    IF in_answerer IS NOT NULL THEN
        out_answer := out_offset + 1;
        INSERT INTO seawall.publications (channel, "offset", author, time, kind, data, stream)
            VALUES (channel.id, out_answer, in_answerer, out_time, 0, seawall.answer_data(out_offset), 1);
        INSERT INTO seawall.streams (channel, "offset", began, touched, since, state, author, asker, options)
            VALUES (channel.id, out_answer, clock, out_time, clock, 4, in_answerer, in_author,
                json_build_object('keep_events', false, 'answer', json_build_object(
                    'question', out_offset, 'give_up_ms', in_give_up, 'answer_ms', in_answer_time))::text);
    END IF;
    UPDATE seawall.channels AS c SET head = coalesce(out_answer, out_offset), time = out_time,
            oldest = CASE WHEN c.floor > c.head THEN out_time ELSE c.oldest END
        WHERE c.id = channel.id;
END
$ask$;

-- Notes publications that are to be sent. If nothing waited in a channel, what is older is not sent. The caller holds the locks of the
-- channels.
CREATE FUNCTION seawall.raise_relays(in_names text[], in_offsets bigint[], in_claims text[]) RETURNS void
LANGUAGE plpgsql
AS $raise_relays$
DECLARE
    clock bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
BEGIN
    INSERT INTO seawall.relays AS r (channel, head, "cursor", next)
        SELECT c.id, max(i."offset"), min(i."offset") - 1, clock
        FROM unnest(in_names, in_offsets) AS i (name, "offset") JOIN seawall.channels c ON c.name = i.name
        GROUP BY c.id ORDER BY c.id
        ON CONFLICT (channel) DO UPDATE SET head = excluded.head,
            "cursor" = CASE WHEN r."cursor" < r.head THEN r."cursor" ELSE excluded."cursor" END,
            attempts = CASE WHEN r."cursor" < r.head THEN r.attempts ELSE 0 END,
            next = CASE WHEN r."cursor" < r.head THEN r.next ELSE excluded.next END;
    IF array_remove(in_claims, NULL) <> '{}' THEN
        INSERT INTO seawall.relay_claims (channel, "offset", claims)
            SELECT c.id, i."offset", i.claims
            FROM unnest(in_names, in_offsets, in_claims) AS i (name, "offset", claims)
            JOIN seawall.channels c ON c.name = i.name WHERE i.claims IS NOT NULL
            ON CONFLICT (channel, "offset") DO UPDATE SET claims = excluded.claims;
    END IF;
END
$raise_relays$;
