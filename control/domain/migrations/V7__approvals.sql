-- What operators may do, and what needs a second one.
ALTER TABLE operator ADD COLUMN role TEXT NOT NULL DEFAULT 'owner'
    CHECK (role IN ('owner', 'operator', 'support', 'auditor', 'shop', 'insurer'));
-- Nothing: any number.
ALTER TABLE operator ADD COLUMN grants_per_day INTEGER;

-- How much each has given on a day (days since 1970, UTC); kept for those with a limit.
CREATE TABLE granted (
    operator TEXT NOT NULL REFERENCES operator (name),
    day INTEGER NOT NULL,
    grants INTEGER NOT NULL,
    PRIMARY KEY (operator, day)
) STRICT;

-- Kinds of what is given that need a second person.
CREATE TABLE approval_rule (
    kind TEXT NOT NULL PRIMARY KEY
) STRICT;

CREATE TABLE approval (
    id BLOB NOT NULL PRIMARY KEY,
    -- What is to be given, as it was asked for: JSON of the API.
    body TEXT NOT NULL,
    asked_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    case_number TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    until INTEGER NOT NULL,
    approved INTEGER CHECK (approved IN (0, 1)),
    decided_by TEXT,
    decided_at INTEGER,
    CHECK ((approved IS NULL) = (decided_by IS NULL) AND (approved IS NULL) = (decided_at IS NULL))
) STRICT;
CREATE INDEX approval_asked ON approval (asked_by) WHERE approved IS NULL;
