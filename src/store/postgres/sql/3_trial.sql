-- Holds nothing: what is written here shows whether there is room.
CREATE TABLE seawall.trial (data bytea);
ALTER TABLE seawall.trial ALTER COLUMN data SET STORAGE EXTERNAL;

-- Writes as much as a large publication takes, and lets go of it. The emptied table has new files each time, so nothing
-- that is free inside of the old ones makes it look as if the disk had room. False when another instance is at it.
CREATE FUNCTION seawall.try_write(bytes integer) RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
    IF NOT pg_catalog.pg_try_advisory_xact_lock(6009316305720339505) THEN
        RETURN false;
    END IF;
    TRUNCATE seawall.trial;
    INSERT INTO seawall.trial (data) VALUES (pg_catalog.convert_to(pg_catalog.repeat('x', bytes), 'UTF8'));
    RETURN true;
END
$$;
