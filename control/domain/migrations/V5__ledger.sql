-- What somebody has of one unit, or owes. Sums of transfers, kept beside them.
CREATE TABLE book (
    id BLOB PRIMARY KEY,
    unit TEXT NOT NULL,
    -- 0: none. 1: never debited beyond what was credited. 2: never credited beyond what was debited.
    bound INTEGER NOT NULL CHECK (bound BETWEEN 0 AND 2),
    debited INTEGER NOT NULL DEFAULT 0 CHECK (debited >= 0),
    credited INTEGER NOT NULL DEFAULT 0 CHECK (credited >= 0),
    debits_reserved INTEGER NOT NULL DEFAULT 0 CHECK (debits_reserved >= 0),
    credits_reserved INTEGER NOT NULL DEFAULT 0 CHECK (credits_reserved >= 0),
    opened INTEGER NOT NULL,
    CHECK (bound <> 1 OR debited + debits_reserved <= credited),
    CHECK (bound <> 2 OR credited + credits_reserved <= debited)
) STRICT;

-- Never changed and never removed.
CREATE TABLE transfer (
    number INTEGER PRIMARY KEY CHECK (number > 0),
    id BLOB NOT NULL UNIQUE,
    -- 1: at once. 2: reserved. 3: a reservation, or a part of it, is posted. 4: it is voided. 5: it has expired.
    kind INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 5),
    debit BLOB NOT NULL REFERENCES book (id),
    credit BLOB NOT NULL REFERENCES book (id),
    amount INTEGER NOT NULL CHECK (amount >= 0),
    -- The reservation that this one ends.
    ends BLOB REFERENCES transfer (id),
    -- A reservation that is not ended before is void then.
    due INTEGER,
    note TEXT NOT NULL,
    at INTEGER NOT NULL,
    CHECK ((kind >= 3) = (ends IS NOT NULL)),
    CHECK (due IS NULL OR kind = 2)
) STRICT;

-- A reservation is ended once.
CREATE UNIQUE INDEX transfer_ends ON transfer (ends) WHERE ends IS NOT NULL;
-- What was booked on a book, in order.
CREATE INDEX transfer_debit ON transfer (debit, number);
CREATE INDEX transfer_credit ON transfer (credit, number);

-- Reservations that are not ended.
CREATE TABLE reservation (
    transfer BLOB PRIMARY KEY REFERENCES transfer (id),
    due INTEGER
) STRICT;
CREATE INDEX reservation_due ON reservation (due);

-- Nothing is booked before the latest of these any more.
CREATE TABLE closed_period (
    until INTEGER PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT;
