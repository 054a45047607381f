-- Packagers of other software: who is let in by token, and which keys were given out for what.

CREATE TABLE packager (
    name TEXT NOT NULL PRIMARY KEY,
    token_hash BLOB NOT NULL UNIQUE,
    since INTEGER NOT NULL,
    -- Who signs its requests, and with what.
    signer TEXT,
    sealed BLOB,
    CHECK ((signer IS NULL) = (sealed IS NULL))
) STRICT;

CREATE TABLE packager_channel (
    packager TEXT NOT NULL REFERENCES packager (name),
    channel INTEGER NOT NULL,
    PRIMARY KEY (packager, channel)
) STRICT;

CREATE TABLE cenc_content (
    channel INTEGER NOT NULL,
    content BLOB NOT NULL,
    -- The crypto period that was asked for first, when, and how long periods are; nothing before one is asked for.
    first_period INTEGER,
    first_at INTEGER,
    period_s INTEGER,
    -- Keys of crypto periods up to this one have been deleted.
    dropped INTEGER,
    -- When the last that was asked for ends.
    ends_at INTEGER NOT NULL,
    PRIMARY KEY (channel, content),
    CHECK ((first_period IS NULL) = (first_at IS NULL) AND (first_at IS NULL) = (period_s IS NULL))
) STRICT;

CREATE TABLE cenc_key (
    kid BLOB NOT NULL PRIMARY KEY,
    channel INTEGER NOT NULL,
    content BLOB NOT NULL,
    -- -1: the whole content.
    period INTEGER NOT NULL,
    track TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    ends_at INTEGER NOT NULL,
    UNIQUE (channel, content, period, track),
    FOREIGN KEY (channel, content) REFERENCES cenc_content (channel, content)
) STRICT;
CREATE INDEX cenc_key_ends ON cenc_key (ends_at);
