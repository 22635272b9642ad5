-- What makes a delivery known again, apart from the delivery: deliveries are about to be divided by day, where no key can be unique over
-- all days, and the window of a key may be longer than its delivery is kept. A row is small and goes when its window is over.
CREATE TABLE penstock.delivery_keys (
    delivery_id   uuid PRIMARY KEY,
    environment   text NOT NULL,
    source        text NOT NULL,
    dedup_key     text,
    signature_key text,
    received_at   timestamptz NOT NULL,
    unique_until  timestamptz NOT NULL,
    run_ids       uuid[] NOT NULL,
    UNIQUE (environment, source, dedup_key)
);
COMMENT ON COLUMN penstock.delivery_keys.received_at IS 'that of the delivery, by which its day is found';
CREATE UNIQUE INDEX delivery_keys_signature ON penstock.delivery_keys (environment, source, signature_key)
    WHERE signature_key IS NOT NULL;
CREATE INDEX delivery_keys_expired ON penstock.delivery_keys (unique_until);

ALTER TABLE penstock.retention ADD COLUMN deliveries_reached_at timestamptz NOT NULL DEFAULT '-infinity';

-- The previous release knows nothing of these keys. While deliveries are one table, its own keys decide, and this follows; afterwards
-- this decides: a delivery whose keys are taken is not stored, as if they were unique there. Keys whose time is over are given up. With
-- its owner's rights, since services get theirs on the new table only after all migrations.
ALTER TABLE penstock.deliveries ADD COLUMN is_keyed boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN penstock.deliveries.is_keyed IS 'whether the statement that stores it has taken its keys';

CREATE FUNCTION penstock.take_delivery_keys() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM penstock.delivery_keys k
    WHERE k.environment = NEW.environment AND k.source = NEW.source AND k.dedup_key = NEW.dedup_key
      AND k.unique_until <= clock_timestamp();
    DELETE FROM penstock.delivery_keys k
    WHERE k.environment = NEW.environment AND k.source = NEW.source AND k.signature_key = NEW.signature_key
      AND k.unique_until <= clock_timestamp();
    INSERT INTO penstock.delivery_keys (
        delivery_id, environment, source, dedup_key, signature_key, received_at, unique_until, run_ids
    )
    VALUES (NEW.id, NEW.environment, NEW.source, NEW.dedup_key, NEW.signature_key, NEW.received_at,
            coalesce(NEW.unique_until, NEW.received_at + interval '30 days'), NEW.run_ids)
    ON CONFLICT DO NOTHING;
    RETURN CASE WHEN FOUND THEN NEW END;
END $$;
CREATE TRIGGER take_delivery_keys AFTER INSERT ON penstock.deliveries FOR EACH ROW
WHEN (NOT NEW.is_keyed) EXECUTE FUNCTION penstock.take_delivery_keys();
