-- Each catalog has schemas of its own: names need only differ within one.
ALTER TABLE schemas DROP CONSTRAINT schemas_name_key;
ALTER TABLE schemas ADD UNIQUE (catalog_id, name);
