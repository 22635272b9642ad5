-- Deliberate recursion: what a run's path has opened is kept on the run, so that its children need no more than its row. Runs without
-- any workflow on their path that has a `depth_limit` of its own or `recursive: {decreases: …}` keep null and never come here.
--
-- A budget: `base` (the depth from which this run is counted), `opened` (workflow → the base of its budget), `values` (workflow → the
-- last value of its `decreases`), and for a run that continues a decreasing recursion `falls` or `stuck` (the value before, and now).
-- `progress` is a list of one, because a value may be null.
CREATE FUNCTION penstock.open_budget(
    workflow text, own_limit integer, progress jsonb,
    parent_workflow text, parent_depth integer, parent_limit integer, parent_budget jsonb
) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    opened jsonb := coalesce(parent_budget -> 'opened', '{}');
    known jsonb := coalesce(parent_budget -> 'values', '{}');
    steps jsonb := jsonb_build_array(known -> workflow, progress -> 0);
    base integer := CASE
        WHEN parent_depth IS NULL THEN 0
        WHEN own_limit IS NOT NULL THEN coalesce((opened ->> workflow)::integer, parent_depth)        -- returning, or entering
        WHEN parent_limit IS NOT NULL OR known ? parent_workflow THEN parent_depth                    -- leaving
        ELSE coalesce((parent_budget ->> 'base')::integer, 0)
    END;
    budget jsonb := jsonb_build_object('base', base);
BEGIN
    IF own_limit IS NOT NULL THEN
        opened := opened || jsonb_build_object(workflow, base);
    END IF;
    IF progress IS NOT NULL AND known ? workflow THEN
        budget := budget || jsonb_build_object(
            CASE WHEN penstock.has_decreased(steps -> 0, steps -> 1) THEN 'falls' ELSE 'stuck' END, steps);
    END IF;
    known := CASE WHEN progress IS NULL THEN known - workflow ELSE known || jsonb_build_object(workflow, progress -> 0) END;
    RETURN budget
        || CASE WHEN opened = '{}' THEN '{}' ELSE jsonb_build_object('opened', opened) END
        || CASE WHEN known = '{}' THEN '{}' ELSE jsonb_build_object('values', known) END
        || CASE WHEN parent_budget ? 'observed' THEN '{"observed": true}'::jsonb ELSE '{}' END;
END $$;

-- Whether a value is a whole number, at least 0, and smaller than the one before.
CREATE FUNCTION penstock.has_decreased(before jsonb, now jsonb) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF jsonb_typeof(before) IS DISTINCT FROM 'number' OR jsonb_typeof(now) IS DISTINCT FROM 'number' THEN
        RETURN false;
    END IF;
    RETURN now::numeric >= 0 AND trunc(now::numeric) = now::numeric AND now::numeric < before::numeric;
END $$;
