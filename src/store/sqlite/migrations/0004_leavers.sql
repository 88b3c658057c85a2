-- Deleted resources that can be brought back, and memberships of which one side is not there.

CREATE TABLE retained (
    key     INTEGER PRIMARY KEY AUTOINCREMENT, -- grows in the order of deletion
    tenant  INTEGER NOT NULL,
    type    TEXT NOT NULL,
    id      TEXT NOT NULL,
    version INTEGER NOT NULL,
    created INTEGER NOT NULL, -- milliseconds since 1970
    deleted INTEGER NOT NULL, -- milliseconds since 1970
    body    BLOB NOT NULL,
    UNIQUE (tenant, type, id)
) STRICT;

CREATE INDEX retained_by_deletion ON retained (tenant, deleted);

-- What a retained resource is known by when it is made again: its externalId and its userName.
CREATE TABLE retained_name (
    tenant    INTEGER NOT NULL,
    attribute TEXT NOT NULL,
    value     TEXT NOT NULL,
    retained  INTEGER NOT NULL,
    PRIMARY KEY (tenant, attribute, value, retained)
) STRICT, WITHOUT ROWID;

CREATE INDEX retained_name_by_retained ON retained_name (retained);

-- Memberships that are real when both sides are there. By id, as neither may have a row.
CREATE TABLE awaited (
    tenant  INTEGER NOT NULL,
    "group" TEXT NOT NULL,    -- id
    member  TEXT NOT NULL,    -- id, or externalId where the tenant's members refer to it
    former  INTEGER NOT NULL, -- 1: it was a member until one of them was deleted; 0: pushed before it was there
    PRIMARY KEY (tenant, "group", member, former)
) STRICT, WITHOUT ROWID;

CREATE INDEX awaited_by_member ON awaited (tenant, member, "group");
