-- Searches for things that took long, by their shape: fields, never values. `penstock doctor` suggests indexes from it.
-- At most some hundred rows, because processes add no others then; an old one goes when another is added.
CREATE TABLE penstock.slow_searches (
    environment   text NOT NULL,
    data_type     text NOT NULL,
    shape         text NOT NULL,              -- JSON: {"where": [[field, constraint type], ...], "sort": [field, ...]}
    count         bigint NOT NULL CHECK (count > 0),
    total_seconds float8 NOT NULL,
    max_seconds   float8 NOT NULL,
    last_at       timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (environment, data_type, shape)
);
