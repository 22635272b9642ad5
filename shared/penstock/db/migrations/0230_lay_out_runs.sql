DROP INDEX penstock.runs_chain;
ALTER INDEX penstock.runs_below RENAME TO runs_chain;

-- Room for two versions of each row: that of its claim and that of its end. A page that has none takes the row to another one, and writes all
-- of its indexes. Holds for what is inserted from now on.
ALTER TABLE penstock.runs SET (fillfactor = 45);

-- An update that stays on its page writes what lies between the first and the last column that it changes. `parameters`, often most of a run,
-- lay between the state and the workload of its end. A table that has runs would have to be written as a whole to change that.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM penstock.runs) THEN
        LOCK TABLE penstock.runs IN ACCESS EXCLUSIVE MODE;
        IF NOT EXISTS (SELECT FROM penstock.runs) THEN
            ALTER TABLE penstock.runs DROP COLUMN parameters, ADD COLUMN parameters jsonb NOT NULL DEFAULT '{}';
        END IF;
    END IF;
END $$;
