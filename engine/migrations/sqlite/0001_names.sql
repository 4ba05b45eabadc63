-- Names: catalogs, schemas, tables. Small columns first: SQLite reads a row from its front.
-- A migration is never edited once it is out: its checksum is kept in every database.

CREATE TABLE catalogs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE schemas (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    catalog_id INTEGER NOT NULL REFERENCES catalogs (id) ON DELETE CASCADE,
    name TEXT NOT NULL UNIQUE,
    comment TEXT
) STRICT;

CREATE TABLE tables (
    -- AUTOINCREMENT: an id is never used twice.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    schema_id INTEGER NOT NULL REFERENCES schemas (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- 'table' or 'view'.
    kind TEXT NOT NULL,
    -- 'files' or 'delta'; nothing for a view.
    format TEXT,
    -- URL of a Delta table's directory.
    location TEXT,
    -- Whether the files at the location go when the table goes.
    is_managed INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    changed_at_ms INTEGER NOT NULL,
    -- JSON.
    comments TEXT,
    -- JSON.
    statistics TEXT,
    -- JSON, with a version.
    definition TEXT NOT NULL,
    -- Arrow schema: the flatbuffer of Arrow's IPC format.
    columns BLOB NOT NULL,
    UNIQUE (schema_id, name)
) STRICT;

-- Locations that no table has, and since when.
CREATE TABLE locations_to_sweep (
    location TEXT PRIMARY KEY,
    since_ms INTEGER NOT NULL
) STRICT;

-- Once: whoever drops this schema does not find it again.
INSERT INTO catalogs (name) VALUES ('grappe');
INSERT INTO schemas (catalog_id, name) SELECT id, 'public' FROM catalogs;
