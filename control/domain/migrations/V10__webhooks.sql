-- Where events are sent to: entries of the audit log.
CREATE TABLE webhook (
    id BLOB PRIMARY KEY,
    url TEXT NOT NULL,
    -- Names of acts or beginnings of them, with spaces between; empty: all.
    events TEXT NOT NULL,
    description TEXT NOT NULL,
    -- Nothing while it is enabled.
    disabled_by TEXT,
    disabled_why TEXT,
    disabled_at INTEGER,
    -- Entries of the audit log up to this number were looked at.
    position INTEGER NOT NULL,
    failing_since INTEGER,
    public_key TEXT NOT NULL,
    sealed BLOB NOT NULL,
    -- The former secret signs, too, until then.
    former_sealed BLOB,
    former_until INTEGER,
    -- Every change counts one.
    revision INTEGER NOT NULL CHECK (revision > 0),
    created INTEGER NOT NULL,
    CHECK ((disabled_by IS NULL) = (disabled_why IS NULL) AND (disabled_by IS NULL) = (disabled_at IS NULL)),
    CHECK ((former_sealed IS NULL) = (former_until IS NULL))
) STRICT;

-- What became of an entry for a webhook.
CREATE TABLE webhook_delivery (
    webhook BLOB NOT NULL REFERENCES webhook (id),
    number INTEGER NOT NULL REFERENCES audit (number),
    subject TEXT NOT NULL,
    -- 1: pending. 2: delivered. 3: dead.
    state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 3),
    attempts INTEGER NOT NULL,
    -- Of the first pending one of each subject; the others wait for it.
    next_at INTEGER,
    -- When it was delivered or died.
    settled INTEGER,
    -- What came of the last attempt.
    answer TEXT NOT NULL,
    PRIMARY KEY (webhook, number),
    CHECK (next_at IS NULL OR state = 1),
    CHECK ((settled IS NULL) = (state = 1))
) STRICT;
CREATE INDEX webhook_delivery_next ON webhook_delivery (webhook, next_at) WHERE next_at IS NOT NULL;
CREATE INDEX webhook_delivery_subject ON webhook_delivery (webhook, subject, number) WHERE state = 1;
CREATE INDEX webhook_delivery_dead ON webhook_delivery (webhook, number) WHERE state = 3;
CREATE INDEX webhook_delivery_settled ON webhook_delivery (settled) WHERE state = 2;
