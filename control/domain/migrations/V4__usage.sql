-- What delivery servers sent and key servers gave, folded out of usage files.

-- Files that were taken in: each once. Number 0 is a master.
CREATE TABLE usage_file (
    source TEXT NOT NULL CHECK (source IN ('delivery-server', 'key-server')),
    number INTEGER NOT NULL,
    -- One run of the program that counted.
    boot BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    -- Last hash of the file's chain.
    chain BLOB NOT NULL,
    records INTEGER NOT NULL,
    taken_at INTEGER NOT NULL,
    PRIMARY KEY (source, number, boot, sequence)
) STRICT;

-- Requests of a session that were counted: first and last number of each run of them, 8 bytes each (big endian), ascending.
CREATE TABLE usage_session (
    session BLOB NOT NULL PRIMARY KEY,
    numbers BLOB NOT NULL,
    touched_at INTEGER NOT NULL
) STRICT;
CREATE INDEX usage_session_touched ON usage_session (touched_at);

-- Keys that a device got: epochs in a row, of one day (UTC). Rows of a device and channel never overlap.
CREATE TABLE key_usage (
    account BLOB NOT NULL,
    device BLOB NOT NULL,
    channel INTEGER NOT NULL,
    first_epoch INTEGER NOT NULL,
    last_epoch INTEGER NOT NULL CHECK (last_epoch >= first_epoch),
    requests INTEGER NOT NULL,
    answers INTEGER NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (account, device, channel, first_epoch)
) STRICT;

-- What one delivery server sent of a channel in an epoch.
CREATE TABLE sent_usage (
    channel INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    server INTEGER NOT NULL,
    packets INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (channel, epoch, server)
) STRICT;
