-- What is indexed of a tenant's resources of a type, and which attributes of the tenant's own their bodies may
-- hold, as JSON. There is a row where a tenant has, or had, schemas of its own.
CREATE TABLE shape (
    tenant INTEGER NOT NULL,
    type   TEXT NOT NULL,
    shape  TEXT NOT NULL,
    PRIMARY KEY (tenant, type)
) STRICT, WITHOUT ROWID;
