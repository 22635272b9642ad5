-- Depth is judged here and nowhere else in SQL: at admission, at the claim, and when a queued run is terminated. The twin in Python is
-- `penstock.domain.depth`; a property test holds the two together.

ALTER TABLE penstock.runs ADD COLUMN budget jsonb;
COMMENT ON COLUMN penstock.runs.budget IS
    'what deliberate recursion has opened on the path to this run; null: nothing, the base of its depth is 0';

-- Why a run of this depth may not run, or null. `own_limit` is its workflow's own limit, `extra_depth` what its chain was granted.
-- A plain expression, so that the planner puts it in the place of the call.
CREATE FUNCTION penstock.judge_depth(depth integer, own_limit integer, budget jsonb, environment_limit integer, extra_depth integer)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN budget IS NULL THEN CASE WHEN depth > coalesce(own_limit, environment_limit) + extra_depth THEN 'depth_limit' END
    WHEN budget ? 'falls' THEN NULL
    WHEN budget ? 'stuck' THEN 'no_progress'
    WHEN depth - (budget ->> 'base')::integer > coalesce(own_limit, environment_limit) + extra_depth THEN 'depth_limit'
END;
