-- The registry of long jobs: DESIGN.md section 4, spec/hudi.md section 1.3 (pg_task_*).
-- A task is a row; a worker that runs it holds its lease, whose columns only workers write.
--
-- Rights. The tables belong to the service role, which row security does not bind. Everybody else
-- works on them as himself (the functions are SECURITY INVOKER, so SET ROLE counts): the policies
-- say which rows, the column grants which columns, the guard which values. So a statement that a
-- user writes by hand against these tables can do no more than the functions do. "See" and "change"
-- go together: owners have their own tasks, administrators all of them.

-- Settings that SQL must know; `pgveneer install` writes them.
CREATE TABLE pgveneer.setting (
    name  text PRIMARY KEY,
    value text NOT NULL
);
INSERT INTO pgveneer.setting (name, value) VALUES ('admin_role', 'pg_database_owner');
GRANT SELECT ON pgveneer.setting TO PUBLIC;

-- Who asks, as oid. In a SECURITY INVOKER function that is whom SET ROLE chose.
CREATE FUNCTION pgveneer.current_user_oid() RETURNS oid
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT oid FROM pg_roles WHERE rolname = current_user $$;

-- Administrator: superuser, owner of the database, or member of the role named by the setting
-- admin_role (spec/decisions.md, "Everywhere"; pg_database_owner exists from PostgreSQL 14 on).
CREATE FUNCTION pgveneer.is_administrator() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
        OR (SELECT pg_has_role(datdba, 'MEMBER') FROM pg_database
             WHERE datname = current_database())
        OR EXISTS (SELECT FROM pgveneer.setting s JOIN pg_roles r ON r.rolname = s.value
                    WHERE s.name = 'admin_role' AND pg_has_role(r.oid, 'MEMBER'))
$$;

-- Is the row of this owner the caller's business? Also for roles whose rights he inherits, as with
-- the owner of a table. Policies on tables of many rows write it out, with the second half as a
-- subquery, so that it is asked once a statement.
CREATE FUNCTION pgveneer.is_mine(owner oid) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT pg_has_role(owner, 'USAGE') OR pgveneer.is_administrator() $$;

-- Is the caller the service role, or could he be it at any time?
CREATE FUNCTION pgveneer.is_service() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT pg_has_role(nspowner, 'MEMBER') FROM pg_namespace WHERE nspname = 'pgveneer'
$$;

-- 64479410-a04c-0700-d150-3037d700fffe: Unix time, 80 random bits, the vendor's mark.
CREATE FUNCTION pgveneer.new_task_id() RETURNS text
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT lpad(to_hex(extract(epoch FROM clock_timestamp())::bigint), 8, '0')
           || '-' || substr(h, 1, 4) || '-' || substr(h, 5, 4) || '-' || substr(h, 9, 4)
           || '-' || right(h, 8) || 'fffe'
      FROM (SELECT replace(gen_random_uuid()::text, '-', '') AS h) AS random
$$;

CREATE TABLE pgveneer.task (
    task_id         text PRIMARY KEY DEFAULT pgveneer.new_task_id(),
    category        text NOT NULL,              -- SQLonHudi, REBUILD, DataArtsMigration, OSSIngest
    what            text NOT NULL,              -- the call that pg_task_show prints
    owner           oid NOT NULL DEFAULT pgveneer.current_user_oid(), -- role that submitted it
    params          jsonb NOT NULL DEFAULT '{}',
    run_every       interval,                   -- NULL: runs once
    state           text NOT NULL DEFAULT 'active'
                    CHECK (state IN ('active', 'paused', 'suspended', 'done')),
    failure_times   integer NOT NULL DEFAULT 0, -- consecutive
    last_log        text NOT NULL DEFAULT '',
    start_time      timestamptz,                -- of the last run
    end_time        timestamptz,
    next_start_time timestamptz DEFAULT pg_catalog.now(), -- NULL while paused or suspended
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

-- What follows from a change of state, whoever makes it; and what nobody but workers may change.
CREATE FUNCTION pgveneer.task_guard() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT pgveneer.is_service() THEN
        IF NEW.state <> OLD.state
           AND (OLD.state = 'done' OR NEW.state NOT IN ('active', 'paused'))
           OR NEW.failure_times NOT IN (0, OLD.failure_times)
           OR NEW.next_start_time IS DISTINCT FROM OLD.next_start_time
              AND NEW.next_start_time < now()
           OR NEW.run_every IS DISTINCT FROM OLD.run_every AND OLD.run_every IS NULL THEN
            RAISE EXCEPTION 'permission denied for task "%"', OLD.task_id
                USING ERRCODE = '42501',
                      DETAIL = 'Only workers make this change.',
                      HINT = 'Use pg_task_pause, pg_task_resume, pg_task_remove or '
                             'pg_task_reset_interval.';
        END IF;
        IF NEW.run_every IS DISTINCT FROM OLD.run_every THEN
            PERFORM pgveneer.check_task_interval(NEW.run_every);
        END IF;
    END IF;
    IF NEW.state <> 'active' THEN
        NEW.next_start_time := NULL;
    END IF;
    IF NEW.state = 'paused' THEN
        NEW.last_log := 'paused';
    ELSIF OLD.state = 'paused' AND NEW.last_log = 'paused' THEN
        NEW.last_log := '';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER task_guard
    BEFORE UPDATE OF state, failure_times, next_start_time, run_every, last_log ON pgveneer.task
    FOR EACH ROW EXECUTE FUNCTION pgveneer.task_guard();

-- The vendor's bounds, for every category that a user gives an interval.
CREATE FUNCTION pgveneer.check_task_interval(every interval) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF every IS NULL THEN
        RAISE EXCEPTION 'the interval must not be null' USING ERRCODE = '22004';
    ELSIF every < interval '5 seconds' OR every > interval '24 hours' THEN
        RAISE EXCEPTION 'interval % is out of range', quote_literal(every::text)
            USING ERRCODE = '22023',
                  HINT = 'The interval of a task is between 5 seconds and 24 hours.';
    END IF;
END $$;

ALTER TABLE pgveneer.task ENABLE ROW LEVEL SECURITY;
CREATE POLICY task_see ON pgveneer.task FOR SELECT
    USING (pg_catalog.pg_has_role(owner, 'USAGE') OR (SELECT pgveneer.is_administrator()));
CREATE POLICY task_change ON pgveneer.task FOR UPDATE
    USING (pg_catalog.pg_has_role(owner, 'USAGE') OR (SELECT pgveneer.is_administrator()));
CREATE POLICY task_remove ON pgveneer.task FOR DELETE
    USING (pg_catalog.pg_has_role(owner, 'USAGE') OR (SELECT pgveneer.is_administrator()));
-- No policy for INSERT here: each feature adds its own, with a trigger that checks params.
GRANT SELECT, DELETE ON pgveneer.task TO PUBLIC;
GRANT INSERT (category, params, run_every) ON pgveneer.task TO PUBLIC;
GRANT UPDATE (state, failure_times, next_start_time, run_every) ON pgveneer.task TO PUBLIC;

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
ALTER TABLE pgveneer.task_history ENABLE ROW LEVEL SECURITY;
CREATE POLICY task_history_see ON pgveneer.task_history FOR SELECT
    USING (pg_catalog.pg_has_role(owner, 'USAGE') OR (SELECT pgveneer.is_administrator()));
GRANT SELECT ON pgveneer.task_history TO PUBLIC;
