-- What usage is folded into lies in the order of its keys, so that a row is found in one place and not in two.
CREATE TABLE session_usage (
    session BLOB NOT NULL PRIMARY KEY,
    numbers BLOB NOT NULL,
    touched_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO session_usage (session, numbers, touched_at) SELECT session, numbers, touched_at FROM usage_session;
DROP TABLE usage_session;
ALTER TABLE session_usage RENAME TO usage_session;
CREATE INDEX usage_session_touched ON usage_session (touched_at);

CREATE TABLE device_usage (
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
) STRICT, WITHOUT ROWID;
INSERT INTO device_usage (account, device, channel, first_epoch, last_epoch, requests, answers, since, until)
    SELECT account, device, channel, first_epoch, last_epoch, requests, answers, since, until FROM key_usage;
DROP TABLE key_usage;
ALTER TABLE device_usage RENAME TO key_usage;
