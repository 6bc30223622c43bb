-- revision 2
-- rebuild_progress, SUSPEND, RESUME, hg_clean_rebuild_tmp_tables, and what pg_task_pause, _resume and
-- _remove mean for a rebuild. Hologres, "REBUILD"; spec/rebuild.md sections 1.5, 1.6, 4.4.

-- The caller's rebuild, or the error that pg_task_* raise.
CREATE OR REPLACE FUNCTION hologres.find_task(id text) RETURNS pgveneer.task
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t pgveneer.task;
BEGIN
    SELECT * INTO t FROM pgveneer.task WHERE task_id = id AND category = 'REBUILD';
    IF FOUND THEN
        RETURN t;
    ELSIF pgveneer.task_exists(id) THEN
        RAISE EXCEPTION 'permission denied for task "%"', id USING ERRCODE = '42501';
    END IF;
    RAISE EXCEPTION 'task "%" does not exist', id USING ERRCODE = '42704';
END $$;

-- m/n of the rows that are copied, n partitions: m are complete, or, where rows go to the partition of their value,
-- as large a part is copied.
CREATE OR REPLACE FUNCTION hologres.copy_progress(id text, n bigint) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN count(*) > 1 THEN least(count(*) FILTER (WHERE done = slices), n)
           ELSE coalesce(n * sum(done)::bigint / sum(slices)::bigint, 0) END || '/' || n
      FROM (SELECT count(*) FILTER (WHERE s.done) AS done, count(*) AS slices
              FROM hologres.rebuild_slice s WHERE s.query_id = id GROUP BY s.relid) AS tables
$$;

CREATE OR REPLACE FUNCTION hologres.rebuild_progress(query_id text)
    RETURNS TABLE (job_name text, step_id integer, step text, status text, progress text,
                   start_time timestamptz, end_time timestamptz, queryid text, pid integer,
                   message text)
    LANGUAGE plpgsql STABLE STRICT ROWS 11 SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t pgveneer.task := hologres.find_task(query_id);
    r hologres.rebuild;
    at integer; -- the step that a user suspended
BEGIN
    SELECT * INTO r FROM hologres.rebuild b WHERE b.query_id = t.task_id;
    IF t.state = 'paused' AND NOT (r.waits AND NOT r.resumed) THEN
        SELECT coalesce(min(s.step_id) FILTER (WHERE s.status = 'doing'),
                        min(s.step_id) FILTER (WHERE s.status IS NULL AND s.progress <> '-'))
          INTO at FROM hologres.rebuild_step s WHERE s.query_id = t.task_id;
    END IF;
    RETURN QUERY
        SELECT s.query_id, s.step_id, s.step,
               CASE s.step_id WHEN at THEN 'error' ELSE s.status END,
               CASE WHEN s.step = 'insert' AND s.status = 'doing' AND s.progress NOT IN ('-', '0/1')
                    THEN hologres.copy_progress(s.query_id, split_part(s.progress, '/', 2)::bigint)
                    ELSE s.progress END, s.start_time, s.end_time,
               CASE WHEN s.attempt > 0 THEN s.query_id || '_' || s.step_id || '_' || s.attempt END,
               s.pid, CASE s.step_id WHEN at THEN 'CANCEL: suspended by user' ELSE s.message END
          FROM hologres.rebuild_step s WHERE s.query_id = t.task_id ORDER BY s.step_id;
END $$;

CREATE OR REPLACE FUNCTION hologres.refuse_ended(id text, state text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF state = 'done' THEN
        RAISE EXCEPTION 'task "%" has ended', id USING ERRCODE = '55000';
    END IF;
END $$;

CREATE OR REPLACE PROCEDURE hologres.rebuild_suspend(id text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t pgveneer.task := hologres.find_task(id);
BEGIN
    PERFORM hologres.refuse_ended(id, t.state);
    PERFORM pgveneer.pg_task_pause(id);
END $$;

CREATE OR REPLACE PROCEDURE hologres.rebuild_resume(id text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t pgveneer.task := hologres.find_task(id);
BEGIN
    PERFORM hologres.refuse_ended(id, t.state);
    IF t.state = 'active' THEN
        RAISE NOTICE 'task "%" is running', id;
        RETURN;
    END IF;
    PERFORM pgveneer.pg_task_resume(id);
END $$;

-- A pause that binlog_mode asked for is over with the first resume.
CREATE OR REPLACE FUNCTION hologres.rebuild_task_resumed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE hologres.rebuild SET resumed = true WHERE query_id = NEW.task_id AND waits;
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS rebuild_task_resumed ON pgveneer.task;
CREATE TRIGGER rebuild_task_resumed AFTER UPDATE OF state ON pgveneer.task
    FOR EACH ROW WHEN (NEW.category = 'REBUILD' AND OLD.state = 'paused' AND NEW.state = 'active')
    EXECUTE FUNCTION hologres.rebuild_task_resumed();

-- Drops what a rebuild made: triggers on the table, the copy, the log. Any number of times, in any
-- state. It runs as the service role (what it drops belongs to the log's and the table's owners) and
-- drops nothing that is not named in the rebuild's row. The read-only mark stays: it is the user's to
-- take away. A job that still works on it is ended first.
CREATE OR REPLACE FUNCTION hologres.rebuild_drop(id text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '200ms' SET quote_all_identifiers = off
AS $$
DECLARE
    statement text;
    tries integer := 0;
BEGIN
    LOOP
        PERFORM pg_terminate_backend(a.pid) FROM pg_stat_activity a
          WHERE (a.pid, a.backend_start) IN (
                SELECT work_pid, work_start FROM pgveneer.task WHERE task_id = id
                UNION ALL SELECT pid, backend_start FROM pgveneer.task_process WHERE task_id = id)
            AND a.pid <> pg_backend_pid();
        BEGIN
            FOR statement IN SELECT s FROM hologres.cleanup_statements(id) s LOOP
                EXECUTE statement;
            END LOOP;
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            tries := tries + 1;
            IF tries >= 50 THEN
                RAISE;
            END IF;
            PERFORM pg_sleep(0.05);
        END;
    END LOOP;
    DELETE FROM hologres.rebuild_slice WHERE query_id = id;
    UPDATE hologres.rebuild SET cleaned = true, new_relid = NULL WHERE query_id = id;
END $$;

REVOKE ALL ON FUNCTION hologres.rebuild_drop(text) FROM PUBLIC;

-- hg_clean_rebuild_tmp_tables is a row that is asked for and never stored: row security says who may
-- ask, and the trigger, a definer, does the work.
CREATE TABLE IF NOT EXISTS hologres.clean_request (query_id text);
ALTER TABLE hologres.clean_request ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS ask ON hologres.clean_request;
CREATE POLICY ask ON hologres.clean_request FOR INSERT WITH CHECK (
    EXISTS (SELECT FROM pgveneer.task t WHERE t.task_id = query_id AND pgveneer.is_mine(t.owner)));
GRANT INSERT ON hologres.clean_request TO PUBLIC;

CREATE OR REPLACE FUNCTION hologres.rebuild_clean() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t pgveneer.task;
BEGIN
    SELECT * INTO t FROM pgveneer.task WHERE task_id = NEW.query_id FOR NO KEY UPDATE;
    IF t.state = 'active' THEN
        RAISE EXCEPTION 'task "%" is running', NEW.query_id
            USING ERRCODE = '55000', HINT = 'SUSPEND it first.';
    END IF;
    PERFORM hologres.rebuild_drop(NEW.query_id);
    UPDATE pgveneer.task SET state = 'done', last_log = 'cleaned up'
     WHERE task_id = NEW.query_id AND state <> 'done';
    DELETE FROM hologres.clean_request WHERE query_id = NEW.query_id;
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS rebuild_clean ON hologres.clean_request;
CREATE TRIGGER rebuild_clean AFTER INSERT ON hologres.clean_request
    FOR EACH ROW EXECUTE FUNCTION hologres.rebuild_clean();

CREATE OR REPLACE PROCEDURE hologres.hg_clean_rebuild_tmp_tables(query_id text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t pgveneer.task := hologres.find_task(query_id);
BEGIN
    INSERT INTO hologres.clean_request (query_id) VALUES (t.task_id);
END $$;

-- pg_task_remove is SUSPEND and clean.
CREATE OR REPLACE FUNCTION hologres.rebuild_task_removed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM hologres.rebuild_drop(OLD.task_id);
    DELETE FROM hologres.rebuild WHERE query_id = OLD.task_id;
    RETURN OLD;
END $$;
DROP TRIGGER IF EXISTS rebuild_task_removed ON pgveneer.task;
CREATE TRIGGER rebuild_task_removed BEFORE DELETE ON pgveneer.task
    FOR EACH ROW WHEN (OLD.category = 'REBUILD') EXECUTE FUNCTION hologres.rebuild_task_removed();
