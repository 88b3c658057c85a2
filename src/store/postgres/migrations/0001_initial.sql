-- The tenant comes first in every key and index, so that an engine that shards by tenant keeps each statement
-- on one shard; nothing holds across tenants but the directory of their names. Numbers are counted in the tenant's
-- own row, never by a sequence. What a client may have sent is BYTEA: any string, compared byte by byte,
-- whatever the collation and the encoding of the database. Times are milliseconds since 1970.

CREATE TABLE scim.meta (
    name  TEXT PRIMARY KEY,
    value BYTEA NOT NULL
);

-- Which data is a tenant's now: a purged tenant that comes back gets another number at once.
CREATE TABLE scim.directory (
    name             TEXT PRIMARY KEY,
    tenant           BIGINT NOT NULL,
    purge_on_removal BOOLEAN NOT NULL DEFAULT FALSE
);

-- The row that whoever writes to the tenant locks until it has committed.
CREATE TABLE scim.tenant (
    tenant    BIGINT PRIMARY KEY,
    name      TEXT NOT NULL,
    live      BOOLEAN NOT NULL DEFAULT TRUE,  -- FALSE: its data is being purged
    next_key  BIGINT NOT NULL DEFAULT 1,      -- of a resource, or of a retained one
    head      BIGINT NOT NULL DEFAULT 0,      -- newest row of the audit log,
    head_time BIGINT NOT NULL DEFAULT 0,      -- and its time
    pruned    BIGINT NOT NULL DEFAULT 0,      -- last row of the audit log that is gone
    leavers   BOOLEAN NOT NULL DEFAULT FALSE, -- whether there may be retained resources or awaited members
    counts    TEXT NOT NULL DEFAULT '{}',     -- JSON: how many resources there are of each type
    shapes    TEXT                            -- JSON: what is indexed, where the tenant has schemas of its own
) WITH (fillfactor = 50);

CREATE TABLE scim.resource (
    tenant        BIGINT NOT NULL,
    type          TEXT NOT NULL,
    id            BYTEA NOT NULL,
    key           BIGINT NOT NULL, -- what other tables call it
    version       BIGINT NOT NULL,
    created       BIGINT NOT NULL,
    last_modified BIGINT NOT NULL,
    display       BYTEA,           -- displayName: what groups show of a member
    body          BYTEA NOT NULL,
    PRIMARY KEY (tenant, type, id)
);

CREATE UNIQUE INDEX resource_by_key ON scim.resource (tenant, key);
CREATE INDEX resource_by_last_modified ON scim.resource (tenant, type, last_modified);

-- Attribute values that filters find resources by. A unique attribute has slot 0, so that the primary
-- key holds its uniqueness; any other has the resource's key there.
CREATE TABLE scim.lookup (
    tenant    BIGINT NOT NULL,
    attribute TEXT NOT NULL,
    value     BYTEA NOT NULL,
    slot      BIGINT NOT NULL,
    resource  BIGINT NOT NULL,
    PRIMARY KEY (tenant, attribute, value, slot)
);

CREATE TABLE scim.member (
    tenant  BIGINT NOT NULL,
    "group" BIGINT NOT NULL,
    member  BIGINT NOT NULL,
    PRIMARY KEY (tenant, "group", member)
);

CREATE INDEX member_by_member ON scim.member (tenant, member, "group");

-- The audit log and change feed: one row for each changed resource, appended in the transaction of the change.
CREATE TABLE scim.change (
    tenant     BIGINT NOT NULL,
    sequence   BIGINT NOT NULL, -- 1, 2, 3, … in the order of the commits
    time       BIGINT NOT NULL, -- never less than that of the row before
    operation  BIGINT NOT NULL,
    type       TEXT NOT NULL,
    id         BYTEA NOT NULL,
    before     BIGINT,          -- version; NULL when it was not there
    after      BIGINT,          -- version; NULL when it is not there any more
    actor      BYTEA NOT NULL,
    client     TEXT,
    request    BYTEA NOT NULL,
    attributes TEXT NOT NULL,   -- paths, each followed by a space
    members    TEXT,            -- JSON
    "values"   TEXT,            -- JSON, where the tenant keeps values
    batch      BIGINT NOT NULL, -- the transaction that wrote it, for one that lost the answer to its commit
    PRIMARY KEY (tenant, sequence)
);

-- Answers to requests with an Idempotency-Key, written with the change itself.
CREATE TABLE scim.answer (
    tenant   BIGINT NOT NULL,
    name     BYTEA NOT NULL,  -- SHA-256 of the client's key
    request  BYTEA NOT NULL,  -- SHA-256 of what was asked
    answered BIGINT NOT NULL,
    status   BIGINT NOT NULL,
    version  BIGINT,          -- ETag: the version's number,
    related  BIGINT,          -- and its digest of related data
    location TEXT,
    body     BYTEA,
    PRIMARY KEY (tenant, name)
);

CREATE INDEX answer_by_age ON scim.answer (tenant, answered);

-- Deleted resources that can be brought back, and memberships of which one side is not there.
CREATE TABLE scim.retained (
    tenant  BIGINT NOT NULL,
    key     BIGINT NOT NULL, -- grows in the order of deletion
    type    TEXT NOT NULL,
    id      BYTEA NOT NULL,
    version BIGINT NOT NULL,
    created BIGINT NOT NULL,
    deleted BIGINT NOT NULL,
    body    BYTEA NOT NULL,
    PRIMARY KEY (tenant, key)
);

CREATE UNIQUE INDEX retained_by_id ON scim.retained (tenant, type, id);
CREATE INDEX retained_by_deletion ON scim.retained (tenant, deleted);

-- What a retained resource is known by when it is made again: its externalId and its userName.
CREATE TABLE scim.retained_name (
    tenant    BIGINT NOT NULL,
    attribute TEXT NOT NULL,
    value     BYTEA NOT NULL,
    retained  BIGINT NOT NULL,
    PRIMARY KEY (tenant, attribute, value, retained)
);

CREATE INDEX retained_name_by_retained ON scim.retained_name (tenant, retained);

-- Memberships that are real when both sides are there. By id, as neither may have a row.
CREATE TABLE scim.awaited (
    tenant  BIGINT NOT NULL,
    "group" BYTEA NOT NULL,   -- id
    member  BYTEA NOT NULL,   -- id, or externalId where the tenant's members refer to it
    former  BOOLEAN NOT NULL, -- it was a member until one of them was deleted; else pushed before it was there
    PRIMARY KEY (tenant, "group", member, former)
);

CREATE INDEX awaited_by_member ON scim.awaited (tenant, member, "group");

-- When tokens were last used. A tenant is its name here: tokens are used before the tenant has any data.
CREATE TABLE scim.token_use (
    tenant    TEXT NOT NULL,
    token     BYTEA NOT NULL,  -- the first 8 bytes of its SHA-256
    last_used BIGINT NOT NULL, -- seconds since 1970
    PRIMARY KEY (tenant, token)
);
