-- A sequence of its own needs a right of its own, which the roles of the services do not have; one behind an identity needs none.
ALTER TABLE penstock.places ALTER COLUMN position DROP DEFAULT;
ALTER TABLE penstock.places ALTER COLUMN position ADD GENERATED ALWAYS AS IDENTITY;
SELECT setval(pg_get_serial_sequence('penstock.places', 'position'), nextval('penstock.places_position'));
DROP SEQUENCE penstock.places_position;
