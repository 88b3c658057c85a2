-- Answers to requests with an Idempotency-Key, written with the change itself. Keys grow with time, so
-- that the oldest answers are found without an index of their own.

CREATE TABLE answer (
    key      INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant   INTEGER NOT NULL,
    name     BLOB NOT NULL,    -- SHA-256 of the client's key
    request  BLOB NOT NULL,    -- SHA-256 of what was asked
    answered INTEGER NOT NULL, -- milliseconds since 1970
    status   INTEGER NOT NULL,
    version  INTEGER,          -- ETag: the version's number,
    related  INTEGER,          -- and its digest of related data
    location TEXT,
    body     BLOB,
    UNIQUE (tenant, name)
) STRICT;
