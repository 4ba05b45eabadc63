-- Who serves, of the processes that stand by for each other. Times are those of this database.
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    ends_ms BIGINT NOT NULL
);
