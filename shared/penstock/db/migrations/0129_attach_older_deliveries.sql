-- The deliveries of before become a partition again. The checks read all of them, and nobody waits for that: a table that is not
-- attached has no other users. What they have shown need not be looked through under the lock of attaching.
DO $$
DECLARE
    split timestamptz;
BEGIN
    IF to_regclass('penstock.deliveries_before') IS NULL THEN
        RETURN;
    END IF;
    ALTER TABLE penstock.deliveries_before VALIDATE CONSTRAINT known_verdict;
    ALTER TABLE penstock.deliveries_before VALIDATE CONSTRAINT before_days;
    SELECT substring(pg_get_constraintdef(oid) FROM '''([^'']+)''')::timestamptz INTO split
    FROM pg_constraint WHERE conrelid = 'penstock.deliveries_before'::regclass AND conname = 'before_days';
    -- Of a clock that went backwards meanwhile.
    WITH early AS (DELETE FROM penstock.deliveries_default WHERE received_at < split RETURNING *)
    INSERT INTO penstock.deliveries_before SELECT * FROM early;
    EXECUTE format(
        'ALTER TABLE penstock.deliveries ATTACH PARTITION penstock.deliveries_before FOR VALUES FROM (MINVALUE) TO (%L)', split);
    ALTER TABLE penstock.deliveries_before DROP CONSTRAINT before_days;
END $$;
