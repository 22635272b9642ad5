-- What `/initialize` has detected: the names and types of one sample's values, never the values themselves. One proposal for a workflow and
-- environment; a new sample takes its place, to be accepted again.
CREATE TABLE penstock.detected_parameters (
    environment text NOT NULL CHECK (environment IN ('development', 'live')),
    workflow    text NOT NULL,
    parameters  jsonb NOT NULL CHECK (jsonb_typeof(parameters) = 'array'),
    detected_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    detected_by text NOT NULL,
    accepted_at timestamptz,
    accepted_by text,
    PRIMARY KEY (environment, workflow),
    CHECK ((accepted_at IS NULL) = (accepted_by IS NULL))
);
COMMENT ON COLUMN penstock.detected_parameters.parameters IS 'a list of {name, type, is_optional}';
