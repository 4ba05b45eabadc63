-- Whether somebody has begun to sweep the location: who still writes there has come too late.
ALTER TABLE locations_to_sweep ADD COLUMN is_claimed BOOLEAN NOT NULL DEFAULT FALSE;
