-- What ALTER SYSTEM, ALTER GROUP and ALTER USER have set: a scope is 'system' with an empty name, 'group' or 'user'.
CREATE TABLE settings (
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    setting TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (scope, name, setting)
);
