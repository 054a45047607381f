-- Slave key servers.

CREATE TABLE slave (
    slave INTEGER NOT NULL PRIMARY KEY CHECK (slave > 0),
    name TEXT NOT NULL,
    standing TEXT NOT NULL CHECK (standing IN ('new', 'active', 'suspended', 'revoked')),
    public_key BLOB
) STRICT;

-- Under which names and addresses slaves and devices reach it: its certificate holds for them.
CREATE TABLE slave_host (
    slave INTEGER NOT NULL REFERENCES slave (slave),
    host TEXT NOT NULL,
    PRIMARY KEY (slave, host)
) STRICT;

-- Slaves enrol, too.
CREATE TABLE enrolment_new (
    code_hash BLOB NOT NULL PRIMARY KEY,
    role TEXT NOT NULL CHECK (role IN ('admin', 'node', 'device', 'slave')),
    subject TEXT NOT NULL,
    valid_until INTEGER NOT NULL,
    public_key BLOB,
    certificate TEXT
) STRICT;
INSERT INTO enrolment_new SELECT code_hash, role, subject, valid_until, public_key, certificate FROM enrolment;
DROP TABLE enrolment;
ALTER TABLE enrolment_new RENAME TO enrolment;
CREATE INDEX enrolment_subject ON enrolment (role, subject);
