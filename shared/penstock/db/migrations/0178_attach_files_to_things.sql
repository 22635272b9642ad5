-- A private file may belong to a thing: who may see the thing may fetch the file. The previous release serves private files
-- to holders of a signed URL alone, also these.
ALTER TABLE penstock.files
    ADD COLUMN attached_type text,
    ADD COLUMN attached_to   text,
    ADD CONSTRAINT files_attached CHECK ((attached_type IS NULL) = (attached_to IS NULL));
COMMENT ON COLUMN penstock.files.attached_type IS 'the data type of the thing to which the file belongs';
