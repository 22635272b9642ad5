-- Deliveries stand in a partition for each day, so that old ones go by dropping days. The table that there was becomes the partition of
-- all days before, in the next migration: until it has been looked through, which may take minutes, its deliveries are not listed.
-- What takes long comes first here, and only reads the old table; its lock is held for the end of this alone.
INSERT INTO penstock.delivery_keys (
    delivery_id, environment, source, dedup_key, signature_key, received_at, unique_until, run_ids
)
SELECT d.id, d.environment, d.source, d.dedup_key, d.signature_key, d.received_at,
       coalesce(d.unique_until, d.received_at + interval '30 days'), d.run_ids
FROM penstock.deliveries d
WHERE coalesce(d.unique_until, d.received_at + interval '30 days') > clock_timestamp()
ON CONFLICT DO NOTHING;

LOCK TABLE penstock.deliveries IN ACCESS EXCLUSIVE MODE;
DROP TRIGGER take_delivery_keys ON penstock.deliveries;
DO $$
BEGIN
    EXECUTE format('ALTER TABLE penstock.%I RENAME TO %I', 'deliveries', 'deliveries_before');
END $$;
ALTER INDEX penstock.deliveries_pkey RENAME TO deliveries_before_pkey;
ALTER INDEX penstock.deliveries_environment_source_dedup_key_key RENAME TO deliveries_before_dedup_key;
ALTER INDEX penstock.deliveries_signature RENAME TO deliveries_before_signature;
ALTER INDEX penstock.deliveries_received RENAME TO deliveries_before_received;
ALTER INDEX penstock.deliveries_replays RENAME TO deliveries_before_replays;

CREATE TABLE penstock.deliveries (LIKE penstock.deliveries_before INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
    PARTITION BY RANGE (received_at);
CREATE INDEX deliveries_received ON penstock.deliveries (received_at);
CREATE INDEX deliveries_replays ON penstock.deliveries (origin_id) WHERE origin_id IS NOT NULL;
-- Takes what no day covers; each partition has its own primary key, since one over all of them would need the time in it.
CREATE TABLE penstock.deliveries_default PARTITION OF penstock.deliveries (PRIMARY KEY (id)) DEFAULT;
CREATE TRIGGER take_delivery_keys BEFORE INSERT ON penstock.deliveries FOR EACH ROW
WHEN (NOT NEW.is_keyed) EXECUTE FUNCTION penstock.take_delivery_keys();

-- Services may do with it what they might with the one before; what they may from now on, they get after all migrations.
DO $$
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT a.grantee::regrole AS role, a.privilege_type AS verb
        FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.oid = 'penstock.deliveries_before'::regclass AND a.grantee <> 0
    LOOP
        EXECUTE format('GRANT %s ON penstock.deliveries TO %s', given.verb, given.role);
    END LOOP;
END $$;

DO $$
DECLARE
    split timestamptz;
BEGIN
    SELECT greatest(clock_timestamp(), max(received_at) + interval '1 microsecond') INTO split FROM penstock.deliveries_before;
    IF NOT EXISTS (SELECT FROM penstock.deliveries_before) THEN
        DROP TABLE penstock.deliveries_before;
        RETURN;
    END IF;
    EXECUTE format(
        'CREATE TABLE penstock.%I PARTITION OF penstock.deliveries (PRIMARY KEY (id)) FOR VALUES FROM (%L) TO (%L)',
        'deliveries_' || to_char(split AT TIME ZONE 'UTC', 'YYYYMMDD'), split, date_trunc('day', split, 'UTC') + interval '1 day');
    EXECUTE format('ALTER TABLE penstock.deliveries_before ADD CONSTRAINT before_days CHECK (received_at < %L) NOT VALID', split);
END $$;
