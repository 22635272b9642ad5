-- A run with a limit of its own, or below one, paid 13 µs for a function in PL/pgSQL. What most of them need is an expression, which the
-- planner puts in the place of the call; only recursion that `decreases`, and what is observed, still take the long way. That function
-- keeps its body and gets another name.
ALTER FUNCTION penstock.open_budget(text, integer, jsonb, text, integer, integer, jsonb) RENAME TO extend_budget;

-- STABLE, since PostgreSQL counts jsonb_build_object as such, and an IMMUTABLE function that calls it would not be inlined.
CREATE FUNCTION penstock.open_budget(
    workflow text, own_limit integer, progress jsonb,
    parent_workflow text, parent_depth integer, parent_limit integer, parent_budget jsonb
) RETURNS jsonb LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
    WHEN progress IS NOT NULL OR parent_budget ?| '{values,observed}'
    THEN penstock.extend_budget(workflow, own_limit, progress, parent_workflow, parent_depth, parent_limit, parent_budget)
    WHEN own_limit IS NULL                                                                -- leaving, or below what was left
    THEN jsonb_strip_nulls(jsonb_build_object(
        'base', CASE WHEN parent_limit IS NOT NULL THEN parent_depth ELSE coalesce((parent_budget -> 'base')::integer, 0) END,
        'opened', parent_budget -> 'opened'))
    WHEN parent_budget -> 'opened' ? workflow                                             -- returning
    THEN jsonb_build_object('base', parent_budget -> 'opened' -> workflow, 'opened', parent_budget -> 'opened')
    ELSE jsonb_build_object(                                                              -- entering
        'base', coalesce(parent_depth, 0),
        'opened', coalesce(parent_budget -> 'opened', '{}') || jsonb_build_object(workflow, coalesce(parent_depth, 0)))
END;
