-- A shop of somebody else's, which sees and settles what was bought at it and nothing else. A role of its own to whoever uses the API.
ALTER TABLE operator ADD COLUMN reseller INTEGER NOT NULL DEFAULT 0
    CHECK (reseller = 0 OR (reseller = 1 AND role = 'shop'));
