-- Accounts can be stopped with all their devices.
ALTER TABLE account ADD COLUMN standing TEXT NOT NULL DEFAULT 'active' CHECK (standing IN ('active', 'suspended', 'revoked'));

CREATE INDEX rights_account ON rights (account);

-- Who the customer is: sealed, and erased alone.
CREATE TABLE customer (
    account BLOB NOT NULL PRIMARY KEY REFERENCES account (id),
    sealed BLOB NOT NULL,
    revision INTEGER NOT NULL CHECK (revision > 0)
) STRICT;

-- The place of a device in the key tree: given once, never again.
ALTER TABLE device ADD COLUMN leaf INTEGER;
UPDATE device SET leaf = (SELECT COUNT(*) FROM device AS other WHERE other.id <= device.id);
CREATE UNIQUE INDEX device_leaf ON device (leaf);
-- The device whose place it took.
ALTER TABLE device ADD COLUMN replaces BLOB;

-- Ids that parts of a device bear: for people and for binding, never a proof.
CREATE TABLE device_label (
    device BLOB NOT NULL REFERENCES device (id),
    kind TEXT NOT NULL CHECK (kind IN ('client', 'drive', 'card')),
    value TEXT NOT NULL,
    PRIMARY KEY (device, kind)
) STRICT;
CREATE INDEX device_label_value ON device_label (kind, value);

-- Every certificate that was issued.
CREATE TABLE certificate (
    number INTEGER NOT NULL PRIMARY KEY,
    role TEXT NOT NULL,
    subject TEXT NOT NULL,
    pem TEXT NOT NULL,
    issued_at INTEGER NOT NULL,
    valid_until INTEGER NOT NULL
) STRICT;
CREATE INDEX certificate_subject ON certificate (role, subject, number);

-- Devices as they left the factory.
CREATE TABLE factory (
    maker TEXT NOT NULL,
    serial TEXT NOT NULL,
    -- SHA-256 of the public key that the device was made with.
    key_hash BLOB NOT NULL UNIQUE,
    registered_at INTEGER NOT NULL,
    device BLOB UNIQUE REFERENCES device (id),
    PRIMARY KEY (maker, serial)
) STRICT;

-- With what a person logs in for an account.
CREATE TABLE login (
    name TEXT NOT NULL PRIMARY KEY,
    account BLOB NOT NULL UNIQUE REFERENCES account (id),
    -- Argon2id, in the PHC string format.
    password TEXT,
    -- With which the password is set, once.
    code_hash BLOB,
    code_until INTEGER
) STRICT;

CREATE TABLE token (
    hash BLOB NOT NULL PRIMARY KEY,
    account BLOB NOT NULL REFERENCES account (id),
    valid_until INTEGER NOT NULL
) STRICT;
CREATE INDEX token_account ON token (account);
CREATE INDEX token_end ON token (valid_until);

-- A lost device gives its place to another one, after a delay in which the account's others can object.
CREATE TABLE recovery (
    id BLOB NOT NULL PRIMARY KEY,
    account BLOB NOT NULL REFERENCES account (id),
    device BLOB NOT NULL REFERENCES device (id),
    code_hash BLOB NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('open', 'waiting', 'done', 'refused', 'expired')),
    made_at INTEGER NOT NULL,
    -- The code can be used until then.
    valid_until INTEGER NOT NULL,
    -- The place can be taken from then on.
    ready_at INTEGER,
    -- The lost device was suspended by it, and acts again if it is refused.
    suspended INTEGER NOT NULL DEFAULT 0 CHECK (suspended IN (0, 1)),
    successor BLOB REFERENCES device (id)
) STRICT;
CREATE INDEX recovery_account ON recovery (account, made_at);
