-- Names: catalogs, schemas, tables. The collation sorts by bytes, as all other keepers of names do.
-- A migration is never edited once it is out: its checksum is kept in every database.

CREATE TABLE catalogs (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE
);

CREATE TABLE schemas (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    catalog_id BIGINT NOT NULL REFERENCES catalogs (id) ON DELETE CASCADE,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    comment TEXT
);

CREATE TABLE tables (
    -- A sequence: an id is never used twice.
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schema_id BIGINT NOT NULL REFERENCES schemas (id) ON DELETE CASCADE,
    name TEXT COLLATE "C" NOT NULL,
    -- 'table' or 'view'.
    kind TEXT NOT NULL,
    -- 'files' or 'delta'; nothing for a view.
    format TEXT,
    -- URL of a Delta table's directory.
    location TEXT,
    -- Whether the files at the location go when the table goes.
    is_managed BOOLEAN NOT NULL,
    created_at_ms BIGINT NOT NULL,
    changed_at_ms BIGINT NOT NULL,
    -- JSON.
    comments TEXT,
    -- JSON.
    statistics TEXT,
    -- JSON, with a version.
    definition TEXT NOT NULL,
    -- Arrow schema: the flatbuffer of Arrow's IPC format.
    columns BYTEA NOT NULL,
    UNIQUE (schema_id, name)
);

-- Locations that no table has, and since when.
CREATE TABLE locations_to_sweep (
    location TEXT COLLATE "C" PRIMARY KEY,
    since_ms BIGINT NOT NULL
);

-- Once: whoever drops this schema does not find it again.
INSERT INTO catalogs (name) VALUES ('grappe');
INSERT INTO schemas (catalog_id, name) SELECT id, 'public' FROM catalogs;
