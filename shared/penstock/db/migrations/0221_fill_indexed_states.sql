-- migrate: no-transaction
-- In parts with a commit each, so that no run is locked for long. Each state is found by an index that is still there.
DO $$
DECLARE
    part uuid[];
BEGIN
    FOR part IN
        SELECT array_agg(n.id) FROM (
            SELECT q.id, (row_number() OVER () - 1) / 2000 AS number FROM (
                SELECT s.id FROM penstock.runs s WHERE s.state = 'scheduled'
                UNION ALL SELECT w.run_id FROM penstock.waits w
                UNION ALL SELECT f.id FROM penstock.runs f WHERE f.state = 'failed'
            ) q
        ) n
        GROUP BY n.number
    LOOP
        UPDATE penstock.runs r SET indexed_state = r.state
        WHERE r.id = ANY(part) AND r.state IN ('scheduled', 'waiting', 'failed') AND r.indexed_state IS NULL;
        COMMIT;
    END LOOP;
END $$
