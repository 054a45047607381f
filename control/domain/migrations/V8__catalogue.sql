-- Who supplies contents.
CREATE TABLE provider (
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    standing TEXT NOT NULL,
    -- Every change counts one.
    revision INTEGER NOT NULL CHECK (revision > 0),
    added INTEGER NOT NULL
) STRICT;

CREATE TABLE content (
    id BLOB PRIMARY KEY,
    provider BLOB NOT NULL REFERENCES provider (id),
    title TEXT NOT NULL,
    genre TEXT NOT NULL,
    kind TEXT NOT NULL,
    amount INTEGER CHECK (amount >= 0),
    currency TEXT,
    availability TEXT NOT NULL,
    -- The newest version that is ready.
    version INTEGER,
    -- The newest number that was given to a version.
    last_version INTEGER NOT NULL,
    -- Every change counts one.
    revision INTEGER NOT NULL CHECK (revision > 0),
    added INTEGER NOT NULL,
    CHECK ((amount IS NULL) = (currency IS NULL))
) STRICT;
CREATE INDEX content_provider ON content (provider, id);

-- Never changed once it is ready.
CREATE TABLE content_version (
    content BLOB NOT NULL REFERENCES content (id),
    version INTEGER NOT NULL CHECK (version > 0),
    previous INTEGER,
    format TEXT NOT NULL,
    added INTEGER NOT NULL,
    -- Of its file, once that is complete.
    length INTEGER,
    sealed_length INTEGER,
    sha256 BLOB,
    sealed_key BLOB,
    file BLOB,
    ready INTEGER,
    PRIMARY KEY (content, version),
    CHECK ((ready IS NULL) = (length IS NULL)),
    CHECK ((ready IS NULL) = (sealed_length IS NULL)),
    CHECK ((ready IS NULL) = (sha256 IS NULL)),
    CHECK ((ready IS NULL) = (sealed_key IS NULL)),
    CHECK ((ready IS NULL) = (file IS NULL))
) STRICT;
CREATE INDEX content_version_waits ON content_version (added) WHERE ready IS NULL;

-- Files that were begun, each under a name of its own. The row is there before the file, so that no file is lost sight of.
CREATE TABLE content_file (
    name BLOB PRIMARY KEY,
    content BLOB NOT NULL,
    version INTEGER NOT NULL,
    begun INTEGER NOT NULL,
    -- 1: it is being written. 2: it is in use. 3: it is to be removed.
    state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 3)
) STRICT;
CREATE INDEX content_file_state ON content_file (state, begun);

-- Which device got which version. Never changed and never removed.
CREATE TABLE download (
    number INTEGER PRIMARY KEY CHECK (number > 0),
    account BLOB NOT NULL REFERENCES account (id),
    device BLOB NOT NULL REFERENCES device (id),
    content BLOB NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (device, content, version),
    FOREIGN KEY (content, version) REFERENCES content_version (content, version)
) STRICT;
CREATE INDEX download_account ON download (account, number);
