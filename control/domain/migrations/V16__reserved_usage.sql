-- How often something was reserved for what the account used and is not billed yet: the number of the reservation that may be open.
ALTER TABLE account_money ADD COLUMN reservations INTEGER NOT NULL DEFAULT 0;
-- So much its balance lacked for that, the last time it was looked at.
ALTER TABLE account_money ADD COLUMN lacks INTEGER NOT NULL DEFAULT 0;
