-- By whose server process one sees that the owner of a lease is dead: DESIGN.md section 1, "A job owns its task by
-- a lease".

-- From the claim until the job has taken its lease the worker's, then the job's lease connection.
ALTER TABLE pgveneer.task
    ADD COLUMN IF NOT EXISTS holder_fencing bigint, -- the claim that the two belong to
    ADD COLUMN IF NOT EXISTS holder_pid integer,
    ADD COLUMN IF NOT EXISTS holder_start timestamptz;
