-- Chains are listed, newest first, also those alone that were stopped, or were cut at a limit; for those near a limit there is
-- `chains_warned`. None of the columns that these indexes name changes when a run is counted, so updates of the count stay HOT.
ALTER TABLE penstock.chains ADD COLUMN created_at timestamptz, ADD COLUMN cut_at timestamptz;
COMMENT ON COLUMN penstock.chains.created_at IS 'when the chain first scheduled anything';
COMMENT ON COLUMN penstock.chains.cut_at IS 'when a limit first terminated a run of it; null: none has, or all were readmitted';
-- Of chains that are there, the time in the id: when the root was made. USING writes the table once, which is faster than an UPDATE.
ALTER TABLE penstock.chains ALTER COLUMN created_at TYPE timestamptz
    USING least(to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0), now());
ALTER TABLE penstock.chains ALTER COLUMN created_at SET DEFAULT clock_timestamp(), ALTER COLUMN created_at SET NOT NULL;

UPDATE penstock.chains c SET cut_at = q.cut_at
FROM (
    SELECT r.chain_id, min(r.finished_at) AS cut_at FROM penstock.runs r
    WHERE r.state = 'terminated' AND r.error ->> 'kind' <> 'chain_stopped' GROUP BY r.chain_id
) q
WHERE q.chain_id = c.id;

CREATE INDEX chains_newest ON penstock.chains (environment, created_at, id);
CREATE INDEX chains_fenced ON penstock.chains (environment, created_at, id) WHERE stopped_at IS NOT NULL;
CREATE INDEX chains_cut ON penstock.chains (environment, created_at, id) WHERE cut_at IS NOT NULL;
