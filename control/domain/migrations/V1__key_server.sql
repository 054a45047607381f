-- What a key server must not forget. Instants are milliseconds since 1970 UTC; ids are 16 bytes; numbers of 64 bits without
-- sign are stored as their two's complement. Columns named `sealed` are encrypted under the master key.

CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE secret (
    name TEXT NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;

CREATE TABLE authority_key (
    id INTEGER NOT NULL PRIMARY KEY,
    public_key BLOB NOT NULL UNIQUE,
    sealed BLOB NOT NULL,
    stage TEXT NOT NULL CHECK (stage IN ('successor', 'current', 'retiring', 'retired')),
    since INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX authority_key_stage ON authority_key (stage) WHERE stage <> 'retired';

CREATE TABLE ticket_key (
    period INTEGER NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL,
    made_at INTEGER NOT NULL
) STRICT;

CREATE TABLE channel (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id BETWEEN 0 AND 65535),
    name TEXT NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('authority', 'delivery-server')),
    lifetime_ms INTEGER NOT NULL,
    prepare_ahead_ms INTEGER NOT NULL,
    fetch_ahead_ms INTEGER NOT NULL,
    grace_ms INTEGER NOT NULL,
    hold_max_lifetimes INTEGER NOT NULL,
    CHECK (lifetime_ms > prepare_ahead_ms AND prepare_ahead_ms > fetch_ahead_ms AND fetch_ahead_ms > 0),
    CHECK (grace_ms < lifetime_ms)
) STRICT;

CREATE TABLE node (
    server INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    standing TEXT NOT NULL CHECK (standing IN ('new', 'active', 'suspended', 'revoked')),
    all_channels INTEGER NOT NULL CHECK (all_channels IN (0, 1)),
    public_key BLOB
) STRICT;

CREATE TABLE node_channel (
    server INTEGER NOT NULL REFERENCES node (server),
    channel INTEGER NOT NULL,
    PRIMARY KEY (server, channel)
) STRICT;

CREATE TABLE operator (
    name TEXT NOT NULL PRIMARY KEY,
    standing TEXT NOT NULL CHECK (standing IN ('new', 'active', 'suspended', 'revoked')),
    public_key BLOB
) STRICT;

CREATE TABLE account (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    rights_version INTEGER NOT NULL,
    -- Cookies count only from this version on.
    rights_floor INTEGER NOT NULL,
    floor_since INTEGER NOT NULL
) STRICT;

CREATE TABLE device (
    id BLOB NOT NULL PRIMARY KEY,
    account BLOB NOT NULL REFERENCES account (id),
    name TEXT NOT NULL,
    standing TEXT NOT NULL CHECK (standing IN ('new', 'active', 'suspended', 'revoked')),
    public_key BLOB
) STRICT;
CREATE INDEX device_account ON device (account);

CREATE TABLE rights (
    device BLOB NOT NULL REFERENCES device (id),
    channel INTEGER NOT NULL,
    account BLOB NOT NULL REFERENCES account (id),
    valid_from INTEGER NOT NULL,
    valid_until INTEGER,
    standing TEXT NOT NULL CHECK (standing IN ('active', 'suspended', 'revoked')),
    -- The end of the period has been told to the key doors.
    ended INTEGER NOT NULL DEFAULT 0 CHECK (ended IN (0, 1)),
    rights_version INTEGER NOT NULL,
    PRIMARY KEY (device, channel)
) STRICT;
CREATE INDEX rights_end ON rights (valid_until) WHERE ended = 0 AND valid_until IS NOT NULL;

CREATE TABLE enrolment (
    code_hash BLOB NOT NULL PRIMARY KEY,
    role TEXT NOT NULL CHECK (role IN ('admin', 'node', 'device')),
    subject TEXT NOT NULL,
    valid_until INTEGER NOT NULL,
    -- Of whoever used it: the same key may ask again, because an answer can be lost.
    public_key BLOB,
    certificate TEXT
) STRICT;
CREATE INDEX enrolment_subject ON enrolment (role, subject);

CREATE TABLE term (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL,
    instance INTEGER NOT NULL
) STRICT;

CREATE TABLE channel_keys (
    channel INTEGER NOT NULL PRIMARY KEY,
    highest INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    announced BLOB
) STRICT;

CREATE TABLE channel_server (
    channel INTEGER NOT NULL,
    server INTEGER NOT NULL,
    PRIMARY KEY (channel, server)
) STRICT;

CREATE TABLE epoch (
    channel INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    term_number INTEGER NOT NULL,
    term_instance INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    opened INTEGER NOT NULL CHECK (opened IN (0, 1)),
    depositor INTEGER,
    depositor_run INTEGER,
    PRIMARY KEY (channel, epoch, term_number, term_instance)
) STRICT;
