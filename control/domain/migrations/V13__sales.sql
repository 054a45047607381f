-- What is sold: licences for a channel or a content, at a price.
CREATE TABLE offer (
    id BLOB NOT NULL PRIMARY KEY,
    -- The shop that sells it, an operator of that role; nothing: the house itself.
    shop TEXT REFERENCES operator (name),
    title TEXT NOT NULL,
    channel INTEGER,
    content BLOB REFERENCES content (id),
    amount INTEGER NOT NULL CHECK (amount >= 0),
    currency TEXT NOT NULL,
    -- How many licences may be had for it.
    grants INTEGER NOT NULL CHECK (grants > 0),
    -- Each of them: milliseconds from its issue, or an instant; plays.
    lasts INTEGER CHECK (lasts > 0),
    until INTEGER,
    plays INTEGER CHECK (plays > 0),
    state TEXT NOT NULL CHECK (state IN ('offered', 'withdrawn')),
    revision INTEGER NOT NULL,
    added INTEGER NOT NULL,
    CHECK ((channel IS NULL) <> (content IS NULL))
) STRICT;

-- Certificates that were sent to a device together (PC-22), and what became of them. Never removed: what the storefront has "deleted" is
-- in another state.
CREATE TABLE purchase (
    -- Whoever asks chooses it.
    id BLOB NOT NULL PRIMARY KEY,
    account BLOB NOT NULL REFERENCES account (id),
    device BLOB NOT NULL REFERENCES device (id),
    shop TEXT REFERENCES operator (name),
    method TEXT NOT NULL CHECK (method IN ('balance', 'invoice', 'card', 'shop')),
    amount INTEGER NOT NULL CHECK (amount >= 0),
    currency TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('sent', 'received', 'settled', 'failed', 'expired', 'refunded')),
    sent INTEGER NOT NULL,
    -- Its reception notice counts until then (PC-25).
    receive_by INTEGER NOT NULL,
    received INTEGER,
    -- When it came to the state that it is in, and why where that is worth knowing.
    changed INTEGER NOT NULL,
    reason TEXT,
    -- The container as the device got it, signed.
    object BLOB NOT NULL
) STRICT;
CREATE INDEX purchase_account ON purchase (account, id);
CREATE INDEX purchase_device ON purchase (device, id);
CREATE INDEX purchase_open ON purchase (device) WHERE state = 'sent';
CREATE INDEX purchase_due ON purchase (receive_by) WHERE state = 'sent';

CREATE TABLE purchase_certificate (
    id BLOB NOT NULL PRIMARY KEY,
    purchase BLOB NOT NULL REFERENCES purchase (id),
    offer BLOB NOT NULL REFERENCES offer (id),
    -- As the offer said when it was bought.
    channel INTEGER,
    content BLOB,
    version INTEGER,
    amount INTEGER NOT NULL CHECK (amount >= 0),
    grants INTEGER NOT NULL CHECK (grants > 0),
    lasts INTEGER,
    until INTEGER,
    plays INTEGER,
    generated INTEGER NOT NULL,
    -- Unless it is settled by then, it counts no more (PC-14).
    settle_by INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('generated', 'settled', 'used', 'expired', 'refunded')),
    -- Settlement info (PC-06): how many licences may be granted.
    granted INTEGER CHECK (granted > 0),
    -- How many were (PC-09): only those of which the device said that it has them.
    used INTEGER NOT NULL DEFAULT 0,
    CHECK ((channel IS NULL) <> (content IS NULL)),
    CHECK ((content IS NULL) = (version IS NULL)),
    CHECK (state <> 'settled' OR granted IS NOT NULL),
    CHECK (granted IS NULL OR used <= granted)
) STRICT;
CREATE INDEX purchase_certificate_purchase ON purchase_certificate (purchase);
CREATE INDEX purchase_certificate_due ON purchase_certificate (settle_by) WHERE state = 'generated';

-- A licence for which a grant is reserved until its device says that it has it.
ALTER TABLE licence ADD COLUMN receive_by INTEGER;
CREATE INDEX licence_origin ON licence (origin_id, device);
CREATE INDEX licence_due ON licence (receive_by) WHERE received IS NULL AND validity <> 'invalid' AND receive_by IS NOT NULL;
