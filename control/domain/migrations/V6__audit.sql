-- What was done, by whom. Each hash covers the one before; entries are never changed and never removed.
CREATE TABLE audit (
    number INTEGER PRIMARY KEY CHECK (number > 0),
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    act TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    hash BLOB NOT NULL
) STRICT;

-- Answers that were given to requests with an idempotency key: the same request gets the same answer.
CREATE TABLE answered (
    actor TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    -- Hash of the request.
    request BLOB NOT NULL,
    sealed BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (actor, idempotency_key)
) STRICT;
CREATE INDEX answered_at ON answered (at);
