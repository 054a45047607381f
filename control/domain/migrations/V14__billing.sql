-- Currencies in which an account has money, owes some, or may.
CREATE TABLE account_money (
    account BLOB NOT NULL REFERENCES account (id),
    currency TEXT NOT NULL,
    PRIMARY KEY (account, currency)
) STRICT;

-- What costs what. Never changed.
CREATE TABLE tariff (
    name TEXT NOT NULL PRIMARY KEY,
    -- JSON, as it was given.
    terms TEXT NOT NULL,
    added INTEGER NOT NULL
) STRICT;

-- From which month on (months since the year 0) an account has which tariff.
CREATE TABLE account_tariff (
    account BLOB NOT NULL REFERENCES account (id),
    month INTEGER NOT NULL,
    tariff TEXT NOT NULL REFERENCES tariff (name),
    paying TEXT NOT NULL CHECK (paying IN ('balance', 'invoice')),
    PRIMARY KEY (account, month)
) STRICT;

-- What goes on a bill besides what was counted. Never changed.
CREATE TABLE charge (
    -- Whoever charges chooses it.
    id BLOB NOT NULL PRIMARY KEY,
    account BLOB NOT NULL REFERENCES account (id),
    kind TEXT NOT NULL CHECK (kind IN ('correction', 'move-certificate', 'premium')),
    -- Of a correction; the tariff prices the others.
    amount INTEGER CHECK ((amount IS NULL) = (kind <> 'correction')),
    note TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX charge_account ON charge (account, at);

-- Months that are closed, and how far their bills are.
CREATE TABLE billing_month (
    month INTEGER NOT NULL PRIMARY KEY,
    closed INTEGER NOT NULL,
    -- Whether the bytes of its epochs are sealed: no bill is made before.
    sealed INTEGER NOT NULL,
    -- Accounts up to this one have their bills.
    done_to BLOB,
    bills INTEGER NOT NULL,
    billed INTEGER
) STRICT;

-- Up to which epoch the bytes of a channel were billed: they never change.
CREATE TABLE sealed_epoch (
    channel INTEGER NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL
) STRICT;

CREATE TABLE bill (
    id BLOB NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    account BLOB NOT NULL REFERENCES account (id),
    month INTEGER NOT NULL REFERENCES billing_month (month),
    currency TEXT NOT NULL,
    gross INTEGER NOT NULL,
    due INTEGER NOT NULL,
    issued INTEGER NOT NULL,
    pay_by INTEGER NOT NULL,
    -- Reminders that were told, and when it is looked at again; nothing: it is paid, or all were told.
    reminders INTEGER NOT NULL,
    remind_at INTEGER,
    -- JSON, as it is given out, byte for byte.
    body BLOB NOT NULL,
    UNIQUE (account, month)
) STRICT;
CREATE INDEX bill_month ON bill (month, number);
CREATE INDEX bill_remind ON bill (remind_at) WHERE remind_at IS NOT NULL;
