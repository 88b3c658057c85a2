-- The tenant comes first in every key. Integer keys are this file's own business: outside it a
-- tenant is its name and a resource its id.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tenant (
    key              INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused: a purge may still be under way
    name             TEXT UNIQUE,                       -- NULL while its data is being purged
    purge_on_removal INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE resource (
    key           INTEGER PRIMARY KEY,
    tenant        INTEGER NOT NULL,
    type          TEXT NOT NULL,
    id            TEXT NOT NULL,
    version       INTEGER NOT NULL,
    created       INTEGER NOT NULL, -- milliseconds since 1970
    last_modified INTEGER NOT NULL, -- milliseconds since 1970
    display       TEXT,             -- displayName: what groups show of a member
    body          BLOB NOT NULL,
    UNIQUE (tenant, type, id)
) STRICT;

CREATE INDEX resource_by_last_modified ON resource (tenant, type, last_modified);

-- Attribute values that filters find resources by. A unique attribute has slot 0, so that the primary
-- key holds its uniqueness; any other has the resource's key there.
CREATE TABLE lookup (
    tenant    INTEGER NOT NULL,
    attribute TEXT NOT NULL,
    value     TEXT NOT NULL,
    slot      INTEGER NOT NULL,
    resource  INTEGER NOT NULL,
    PRIMARY KEY (tenant, attribute, value, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE member (
    tenant  INTEGER NOT NULL,
    "group" INTEGER NOT NULL,
    member  INTEGER NOT NULL,
    PRIMARY KEY (tenant, "group", member)
) STRICT, WITHOUT ROWID;

CREATE INDEX member_by_member ON member (tenant, member, "group");

-- How many resources there are, moved in the transaction that makes or removes them.
CREATE TABLE counter (
    tenant INTEGER NOT NULL,
    type   TEXT NOT NULL,
    n      INTEGER NOT NULL,
    PRIMARY KEY (tenant, type)
) STRICT, WITHOUT ROWID;
