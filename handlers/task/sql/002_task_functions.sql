-- pg_task_show, pg_task_pause, pg_task_resume, pg_task_remove, pg_task_reset_interval: DWS manual,
-- "Hudi System Functions" and "Synchronizing Hudi Tasks"; spec/hudi.md section 1.3,
-- spec/decisions.md. They are SECURITY INVOKER; 001_task.sql says who may do what.
-- A worker that runs a task sees the change of its row and ends the run.

-- The call that pg_task_show prints. Features replace it for their category, to show present names.
CREATE FUNCTION pgveneer.task_what(category text, params jsonb, what text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT what $$;

CREATE FUNCTION pgveneer.pg_task_show(category text)
    RETURNS TABLE (task_id text, what text, category_id text, userid oid, is_broken boolean,
                   "interval" text, time_cons text, start_time timestamptz, end_time timestamptz,
                   parameter text, task_rank integer, next_start_time timestamptz,
                   next_end_time timestamptz, last_log text, failure_times integer)
    LANGUAGE plpgsql STABLE STRICT ROWS 100
    SET search_path = pg_catalog, pg_temp SET intervalstyle = 'postgres'
AS $$
BEGIN
    IF lower(category) NOT IN ('sqlonhudi', 'rebuild', 'dataartsmigration', 'ossingest') THEN
        RAISE EXCEPTION 'unrecognized task category "%"', category
            USING ERRCODE = '22023',
                  HINT = 'Categories are SQLonHudi, REBUILD, DataArtsMigration and OSSIngest.';
    END IF;
    RETURN QUERY
        SELECT t.task_id, pgveneer.task_what(t.category, t.params, t.what), t.category, t.owner,
               t.state = 'suspended', quote_literal(t.run_every::text), NULL::text,
               coalesce(t.start_time, t.created_at), t.end_time, NULL::text, 5, t.next_start_time,
               t.next_start_time + t.run_every - interval '1 second', t.last_log, t.failure_times
          FROM pgveneer.task t
         WHERE lower(t.category) = lower(pg_task_show.category)
         ORDER BY t.created_at, t.task_id;
END $$;

-- A definer, so that a task of somebody else is "denied" and not "does not exist".
CREATE FUNCTION pgveneer.task_exists(id text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT EXISTS (SELECT FROM pgveneer.task WHERE task_id = id) $$;

-- The caller's task, locked against a second caller; raises what pg_task_* raise.
CREATE FUNCTION pgveneer.lock_task(id text) RETURNS pgveneer.task
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_task pgveneer.task;
BEGIN
    SELECT * INTO found_task FROM pgveneer.task t WHERE t.task_id = id FOR NO KEY UPDATE;
    IF FOUND THEN
        RETURN found_task;
    END IF;
    IF pgveneer.task_exists(id) THEN
        RAISE EXCEPTION 'permission denied for task "%"', id
            USING ERRCODE = '42501',
                  HINT = 'The owner of a task and administrators may change it.';
    END IF;
    RAISE EXCEPTION 'task "%" does not exist', id USING ERRCODE = '42704';
END $$;

CREATE FUNCTION pgveneer.pg_task_pause(task_id text) RETURNS integer
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t pgveneer.task := pgveneer.lock_task(task_id);
BEGIN
    IF t.state = 'done' THEN
        RAISE EXCEPTION 'task "%" has ended', t.task_id USING ERRCODE = '55000';
    END IF;
    UPDATE pgveneer.task u SET state = 'paused' WHERE u.task_id = t.task_id;
    RETURN 1;
END $$;

-- Also takes back a suspension, and makes the next run due at once.
CREATE FUNCTION pgveneer.pg_task_resume(task_id text) RETURNS integer
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t pgveneer.task := pgveneer.lock_task(task_id);
BEGIN
    IF t.state = 'done' THEN
        RAISE EXCEPTION 'task "%" has ended', t.task_id USING ERRCODE = '55000';
    END IF;
    UPDATE pgveneer.task u SET state = 'active', failure_times = 0, next_start_time = now()
     WHERE u.task_id = t.task_id;
    RETURN 1;
END $$;

-- The task goes; what it knew of its progress and its history stay.
CREATE FUNCTION pgveneer.pg_task_remove(task_id text) RETURNS integer
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t pgveneer.task := pgveneer.lock_task(task_id);
BEGIN
    DELETE FROM pgveneer.task d WHERE d.task_id = t.task_id;
    RETURN 1;
END $$;

-- The next run comes one new interval after the start of the last one, or at once if that is past.
CREATE FUNCTION pgveneer.pg_task_reset_interval(task_id text, "interval" interval) RETURNS integer
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t pgveneer.task := pgveneer.lock_task(task_id);
BEGIN
    PERFORM pgveneer.check_task_interval("interval");
    IF t.run_every IS NULL THEN
        RAISE EXCEPTION 'task "%" runs once and has no interval', t.task_id
            USING ERRCODE = '55000';
    END IF;
    UPDATE pgveneer.task u
       SET run_every = pg_task_reset_interval."interval",
           next_start_time = CASE WHEN u.next_start_time IS NOT NULL THEN
               greatest(now(), u.start_time + pg_task_reset_interval."interval") END
     WHERE u.task_id = t.task_id;
    RETURN 1;
END $$;

-- Drivers that send every string as text or varchar: from there to interval is no implicit cast.
CREATE FUNCTION pgveneer.pg_task_reset_interval(task_id text, "interval" text) RETURNS integer
    LANGUAGE sql
AS $$ SELECT pgveneer.pg_task_reset_interval($1, $2::pg_catalog.interval) $$;
