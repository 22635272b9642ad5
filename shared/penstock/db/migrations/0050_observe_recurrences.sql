-- Where depth is only observed, recurrences that set one another up continue beyond the limit, and the first one of them is recorded.
ALTER TABLE penstock.recurrences ADD COLUMN is_observed boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN penstock.recurrences.is_observed IS
    'it, or one that led to it, would have been refused; runs of its ticks say so, so that what they set up is not recorded again';
