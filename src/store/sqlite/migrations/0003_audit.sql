-- The audit log and change feed: one row for each changed resource, appended in the transaction of the change.

CREATE TABLE change (
    place      INTEGER PRIMARY KEY, -- tenant << 40 | sequence: the rows of a tenant lie together, in order
    time       INTEGER NOT NULL,    -- milliseconds since 1970, never less than that of the row before
    operation  INTEGER NOT NULL,
    type       TEXT NOT NULL,
    id         TEXT NOT NULL,
    before     INTEGER,             -- version; NULL when it was not there
    after      INTEGER,             -- version; NULL when it is not there any more
    actor      TEXT NOT NULL,
    client     TEXT,
    request    TEXT NOT NULL,
    attributes TEXT NOT NULL,       -- paths, each followed by a space
    members    TEXT,                -- JSON
    "values"   TEXT                 -- JSON, where the tenant keeps values
) STRICT;

-- The last sequence that is gone: the log begins after it, and goes on from it when it is empty.
ALTER TABLE tenant ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;
