-- Names are compared byte by byte, whatever the database's collation: locks are taken in their order.
CREATE TABLE seawall.channels (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    head bigint NOT NULL DEFAULT 0,
    floor bigint NOT NULL DEFAULT 1,
    -- Of the newest publication, Unix milliseconds: it never decreases along a channel.
    time bigint NOT NULL DEFAULT 0,
    -- Of the oldest retained publication; null when none is.
    oldest bigint
) WITH (fillfactor = 70);
CREATE INDEX channels_by_oldest ON seawall.channels (oldest) WHERE oldest IS NOT NULL;

-- kind: 0 original, 1 edit, 2 delete. target: the offset that an edit or a delete is about. deleted_by: an
-- offset; data is then null.
CREATE TABLE seawall.publications (
    channel bigint NOT NULL,
    "offset" bigint NOT NULL,
    author text COLLATE "C" NOT NULL,
    key text COLLATE "C",
    time bigint NOT NULL,
    kind smallint NOT NULL,
    target bigint,
    deleted_by bigint,
    data text,
    PRIMARY KEY (channel, "offset")
);
CREATE INDEX publications_by_target ON seawall.publications (channel, target) WHERE target IS NOT NULL;

CREATE TABLE seawall.keys (
    channel bigint NOT NULL,
    author text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    "offset" bigint NOT NULL,
    time bigint NOT NULL,
    digest bytea NOT NULL,
    PRIMARY KEY (channel, author, key)
);
-- How many channels there are. Whoever makes one holds this row: the count is exact, and makers queue here.
INSERT INTO seawall.meta (name, value) VALUES ('channels', 0);
