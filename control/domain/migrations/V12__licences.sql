-- What devices sign with, and what secrets are wrapped to (SEC-01). A device may have others; its licences name the ones they were made for.
CREATE TABLE device_key (
    number INTEGER NOT NULL PRIMARY KEY CHECK (number > 0),
    device BLOB NOT NULL REFERENCES device (id),
    -- Ed25519.
    sign BLOB NOT NULL,
    -- MLKEM768-X25519.
    wrap BLOB NOT NULL,
    added INTEGER NOT NULL
) STRICT;
CREATE INDEX device_key_device ON device_key (device, number);

-- Who may use what, whatever it came from. Never removed.
CREATE TABLE licence (
    id BLOB NOT NULL PRIMARY KEY,
    account BLOB NOT NULL REFERENCES account (id),
    device BLOB NOT NULL REFERENCES device (id),
    -- A channel, or a version of a content.
    channel INTEGER,
    content BLOB,
    version INTEGER,
    valid_from INTEGER NOT NULL,
    valid_until INTEGER,
    plays INTEGER CHECK (plays > 0),
    -- What it came from: the kind, and the id.
    origin TEXT NOT NULL CHECK (origin IN ('sale', 'plan', 'move', 'upgrade', 'media', 'operator')),
    origin_id TEXT NOT NULL,
    supersedes BLOB UNIQUE REFERENCES licence (id),
    validity TEXT NOT NULL CHECK (validity IN ('valid', 'suspended', 'invalid')),
    -- Since when, and why, it does not count.
    changed INTEGER,
    reason TEXT,
    issued INTEGER NOT NULL,
    -- When the device said that it has it.
    received INTEGER,
    -- As the device gets it, signed.
    object BLOB NOT NULL,
    CHECK ((channel IS NULL) <> (content IS NULL)),
    CHECK ((content IS NULL) = (version IS NULL)),
    CHECK ((validity = 'valid') = (changed IS NULL)),
    CHECK (valid_until IS NULL OR valid_until > valid_from),
    FOREIGN KEY (content, version) REFERENCES content_version (content, version)
) STRICT;
CREATE INDEX licence_account ON licence (account, id);
CREATE INDEX licence_device ON licence (device, channel);
CREATE INDEX licence_content ON licence (content, id) WHERE content IS NOT NULL;
CREATE INDEX licence_end ON licence (valid_until) WHERE validity <> 'invalid' AND valid_until IS NOT NULL;
