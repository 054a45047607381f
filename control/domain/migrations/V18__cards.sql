-- Purchases by card: each has one payment, which a card provider takes. The row is there before the provider hears of it.
CREATE TABLE card_payment (
    purchase BLOB NOT NULL PRIMARY KEY REFERENCES purchase (id),
    -- What the provider is to take, in its own minor units.
    amount INTEGER NOT NULL CHECK (amount > 0),
    -- What the provider calls it; nothing until it said so.
    intent TEXT UNIQUE,
    -- What the buyer pays with, sealed.
    secret BLOB,
    state TEXT NOT NULL CHECK (state IN ('asked', 'open', 'paid', 'returning', 'returned', 'canceled', 'wrong')),
    -- Part of the keys under which the provider does a thing once; another one only when it answered that it failed.
    round INTEGER NOT NULL,
    -- Calls that failed since one that did not.
    failures INTEGER NOT NULL,
    -- When the provider is to be asked again; nothing: when it speaks up.
    next_at INTEGER,
    -- Why the card was not taken last, for the buyer.
    declined TEXT,
    -- What a person must look at: an alarm.
    trouble TEXT,
    dispute TEXT CHECK (dispute IN ('open', 'won', 'lost')),
    began INTEGER NOT NULL,
    changed INTEGER NOT NULL
) STRICT;
CREATE INDEX card_payment_due ON card_payment (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX card_payment_state ON card_payment (state) WHERE state IN ('asked', 'open', 'returning', 'wrong');
CREATE INDEX card_payment_trouble ON card_payment (purchase) WHERE trouble IS NOT NULL;
CREATE INDEX card_payment_dispute ON card_payment (purchase) WHERE dispute = 'open';

-- Events of the provider that were taken: the same again does nothing.
CREATE TABLE card_event (
    id TEXT NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX card_event_at ON card_event (at);
