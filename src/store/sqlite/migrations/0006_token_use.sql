-- When tokens were last used, so that a restart does not forget. A tenant is its name here: tokens are
-- used before the tenant has any data.

CREATE TABLE token_use (
    tenant    TEXT NOT NULL,
    token     BLOB NOT NULL,    -- the first 8 bytes of its SHA-256
    last_used INTEGER NOT NULL, -- seconds since 1970
    PRIMARY KEY (tenant, token)
) STRICT, WITHOUT ROWID;
