-- Whose a task for mail is: it is shown to its person and goes with them. Tasks that stand already have nobody's name in
-- this column, and are gone within a week.
ALTER TABLE mail_tasks ADD COLUMN account BLOB;

CREATE INDEX mail_tasks_of_account ON mail_tasks (account) WHERE account IS NOT NULL;
