-- What stands for a channel's packets besides the key that all members have: 0 nothing, 1 manifests.
ALTER TABLE channel ADD COLUMN auth_level INTEGER NOT NULL DEFAULT 0 CHECK (auth_level IN (0, 1));
