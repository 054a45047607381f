-- Key blocks: thousandths of a channel's bytes that they may take; 0: none are sent.
ALTER TABLE channel ADD COLUMN key_block_permille INTEGER NOT NULL DEFAULT 0 CHECK (key_block_permille BETWEEN 0 AND 1000);

-- Generations of the channels' key trees. `given` positions have been given away, from 0 on.
CREATE TABLE key_tree (
    channel INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    height INTEGER NOT NULL,
    given INTEGER NOT NULL,
    secret BLOB NOT NULL,
    made_at INTEGER NOT NULL,
    PRIMARY KEY (channel, generation)
) STRICT;

-- Which device, by its leaf, has which position. A position is one device's for as long as its generation lasts; one that is gone gets no more roots
-- until its device opens a session and may have them.
CREATE TABLE tree_position (
    channel INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    position INTEGER NOT NULL,
    leaf INTEGER NOT NULL,
    gone INTEGER NOT NULL CHECK (gone IN (0, 1)),
    PRIMARY KEY (channel, generation, position)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX tree_position_leaf ON tree_position (leaf, channel, generation);
CREATE INDEX tree_position_gone ON tree_position (channel, generation, position) WHERE gone = 1;
