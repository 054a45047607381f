-- How income is divided. Never changed.
CREATE TABLE split (
    name TEXT NOT NULL PRIMARY KEY,
    -- JSON, as it was given.
    shares TEXT NOT NULL,
    added INTEGER NOT NULL
) STRICT;

-- How the income of an offer is divided; nothing: it is all the house's.
ALTER TABLE offer ADD COLUMN split TEXT REFERENCES split (name);
-- As the offer said when it was bought.
ALTER TABLE purchase_certificate ADD COLUMN split TEXT REFERENCES split (name);

-- Who has a share in anything, and in which currencies.
CREATE TABLE party_money (
    party TEXT NOT NULL,
    currency TEXT NOT NULL,
    PRIMARY KEY (party, currency)
) STRICT;
