-- Whose file it is: copies are claimed from each owner in turn.
ALTER TABLE copies ADD COLUMN owner text COLLATE "C" NOT NULL DEFAULT '';
UPDATE copies SET owner = coalesce((SELECT owner FROM tasks WHERE tasks.id = copies.task_id), '')
 WHERE status = 'pending';
CREATE INDEX copies_in_turn ON copies (owner, next_attempt_at) WHERE status = 'pending' AND worker = 0;
