-- The outbox gets attempts. What recovery has tried is apart from what it has never tried, so that items that cannot be
-- announced never stand before others.

-- Recovery leaves an item alone until `next_time`. It means nothing before the first attempt.
ALTER TABLE unannounced_changes ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE unannounced_changes ADD COLUMN next_time INTEGER NOT NULL DEFAULT 0;
ALTER TABLE unannounced_members ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE unannounced_members ADD COLUMN next_time INTEGER NOT NULL DEFAULT 0;

DROP INDEX unannounced_changes_by_age;
DROP INDEX unannounced_members_by_age;

CREATE INDEX unannounced_changes_untried ON unannounced_changes (since, conversation, seq) WHERE attempts = 0;
CREATE INDEX unannounced_changes_tried ON unannounced_changes (next_time, conversation, seq) WHERE attempts > 0;
CREATE INDEX unannounced_members_untried ON unannounced_members (since, conversation, user) WHERE attempts = 0;
CREATE INDEX unannounced_members_tried ON unannounced_members (next_time, conversation, user) WHERE attempts > 0;
