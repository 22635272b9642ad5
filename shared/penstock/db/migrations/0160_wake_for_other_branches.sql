-- A run whose branches wait for several things is woken for the first that is over: `penstock_executor.performing.beside`.
ALTER TABLE penstock.waits ADD COLUMN is_early boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN penstock.waits.is_early IS 'at `until` another branch continues; the step itself has still to wait then';
