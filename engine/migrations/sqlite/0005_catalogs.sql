-- Each catalog has schemas of its own: names need only differ within one. SQLite cannot take a constraint away, so that the
-- table is made anew; whoever runs this has switched foreign keys off, or the tables would go with the old one.
CREATE TABLE schemas_of_catalogs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    catalog_id INTEGER NOT NULL REFERENCES catalogs (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    comment TEXT,
    UNIQUE (catalog_id, name)
) STRICT;

INSERT INTO schemas_of_catalogs (id, catalog_id, name, comment) SELECT id, catalog_id, name, comment FROM schemas;
DROP TABLE schemas;
ALTER TABLE schemas_of_catalogs RENAME TO schemas;
