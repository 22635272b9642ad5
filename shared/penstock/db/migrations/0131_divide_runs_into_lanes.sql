-- Lanes: what nobody waits for at this moment keeps to itself, so that a backlog of it delays no call. Items of lists, ticks of recurrences,
-- all that these start, and chains that have grown large are bulk. Null: interactive, as most runs are.
ALTER TABLE penstock.runs ADD COLUMN is_bulk boolean;
COMMENT ON COLUMN penstock.runs.is_bulk IS 'true: dispatched to the lane `bulk`; null: to `interactive`';
