-- The registry of long jobs: DESIGN.md section 4, spec/hudi.md section 1.3 (pg_task_*).
-- A task is a row; a worker that runs it holds its lease, whose columns only workers write.

CREATE TABLE pgveneer.task (
    task_id         text PRIMARY KEY,
    category        text NOT NULL,              -- SQLonHudi, REBUILD, DataArtsMigration, OSSIngest
    what            text NOT NULL,              -- the call that pg_task_show prints
    owner           oid NOT NULL,               -- role that submitted it
    params          jsonb NOT NULL DEFAULT '{}',
    run_every       interval,                   -- NULL: runs once
    state           text NOT NULL DEFAULT 'active'
                    CHECK (state IN ('active', 'paused', 'suspended', 'done')),
    failure_times   integer NOT NULL DEFAULT 0, -- consecutive
    last_log        text NOT NULL DEFAULT '',
    start_time      timestamptz,                -- of the last run
    end_time        timestamptz,
    next_start_time timestamptz,                -- NULL while paused or suspended
    created_at      timestamptz NOT NULL DEFAULT pg_catalog.now(),
    -- the lease
    fencing         bigint NOT NULL DEFAULT 0,  -- grows with every owner of the lease
    worker          text,                       -- host and pid of the worker
    lease_until     timestamptz,                -- NULL: nobody runs it
    crash_times     integer NOT NULL DEFAULT 0, -- job processes that ended without recording it
    last_crash      text NOT NULL DEFAULT '',   -- how the last of them ended
    lease_pid       integer,                    -- server processes of the job, ended at a takeover
    lease_start     timestamptz,                -- their backend_start
    work_pid        integer,
    work_start      timestamptz
);
CREATE INDEX task_due ON pgveneer.task (next_start_time) WHERE state = 'active';

CREATE TABLE pgveneer.task_history (
    history_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id    text NOT NULL,
    category   text NOT NULL,
    owner      oid NOT NULL,
    run_start  timestamptz NOT NULL,
    run_end    timestamptz NOT NULL,
    outcome    text NOT NULL CHECK (outcome IN ('done', 'failed')),
    row_count  bigint NOT NULL DEFAULT 0,
    log        text NOT NULL DEFAULT '',
    detail     jsonb NOT NULL DEFAULT '{}'      -- of the category: latest_commit, …
);
CREATE INDEX task_history_task ON pgveneer.task_history (task_id, history_id);
