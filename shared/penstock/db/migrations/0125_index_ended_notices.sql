-- Notifications that were sent, or given up, are deleted by age: this is how they are found among all of them.
CREATE INDEX notice_deliveries_ended ON penstock.notice_deliveries (created_at) WHERE next_try_at IS NULL;
