-- Tokens that people have made are few among the sessions of users who have logged in, and are listed without those.
CREATE INDEX tokens_made ON penstock.tokens (created_at DESC, id DESC) WHERE idle_after IS NULL;
