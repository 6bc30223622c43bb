-- Limits of a rebuild: rebuild_guc_hg_rebuild_max_log_mb, rebuild_guc_hg_rebuild_throttle_replica_lag_mb.
-- spec/rebuild.md sections 2 and 4.4.

CREATE OR REPLACE FUNCTION hologres.log_bytes(id text) RETURNS bigint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(pg_relation_size(to_regclass('hologres.rebuild_log_' || id)), 0) $$;

-- A rebuild whose log is over its limit stops, whether it runs or is suspended: it is told in its step, and
-- what was copied counts for nothing.
CREATE OR REPLACE FUNCTION hologres.stop_for_log(id text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    told text := format('the log of changed rows is larger than %s MB (rebuild_guc_hg_rebuild_max_log_mb): it is '
                        'dropped with the triggers; RESUME copies the table again', hologres.own_setting(id, 'max_log_mb'));
BEGIN
    UPDATE pgveneer.task SET state = 'suspended', last_log = told WHERE task_id = id;
    UPDATE hologres.rebuild_step SET status = NULL, message = '',
           progress = CASE WHEN progress = '-' THEN '-' ELSE regexp_replace(progress, '^.*/', '0/') END
     WHERE query_id = id AND step_id > 3;
    UPDATE hologres.rebuild_step SET status = 'error', message = told, end_time = clock_timestamp()
     WHERE query_id = id AND step = 'get_src_table_snapshot';
    UPDATE hologres.rebuild SET plan = plan || '{"overflowed": true}' WHERE query_id = id;
END $$;

-- Run by workers, every few seconds in each database. It waits for nobody: what is locked comes later.
-- A stopped rebuild keeps its triggers until its last run has ended and the table's lock is free.
CREATE OR REPLACE FUNCTION hologres.shed_logs() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '30ms'
AS $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT t.task_id FROM pgveneer.task t JOIN hologres.rebuild b ON b.query_id = t.task_id
              WHERE t.state IN ('active', 'paused') AND b.capture = 'key' AND NOT b.plan ? 'overflowed'
                AND NOT EXISTS (SELECT FROM hologres.rebuild_step s WHERE s.query_id = t.task_id
                                   AND s.step = 'swap' AND s.status = 'done')
                AND hologres.own_setting(t.task_id, 'max_log_mb') > 0
                AND hologres.log_bytes(t.task_id) > hologres.own_setting(t.task_id, 'max_log_mb') * 1048576::bigint
                FOR NO KEY UPDATE OF t SKIP LOCKED LOOP
        PERFORM hologres.stop_for_log(r.task_id);
        PERFORM pg_notify('pgveneer_task', '');
    END LOOP;
    FOR r IN SELECT t.task_id, s.message FROM pgveneer.task t JOIN hologres.rebuild b ON b.query_id = t.task_id
               JOIN hologres.rebuild_step s ON s.query_id = t.task_id AND s.step = 'get_src_table_snapshot'
              WHERE t.state = 'suspended' AND b.plan ? 'overflowed'
                AND (t.lease_until IS NULL OR t.lease_until < clock_timestamp())
                FOR NO KEY UPDATE OF t SKIP LOCKED LOOP
        BEGIN
            PERFORM hologres.start_again(r.task_id);
            UPDATE hologres.rebuild_step SET status = 'error', message = r.message
             WHERE query_id = r.task_id AND step = 'get_src_table_snapshot';
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            NULL;
        END;
    END LOOP;
END $$;

-- Is nothing of what was copied of any use: were changes missed, or has the log been given up?
CREATE OR REPLACE FUNCTION hologres.must_start_again(id text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT r.plan ? 'overflowed' OR s.status IS NOT DISTINCT FROM 'done' AND NOT hologres.is_followed(id)
      FROM hologres.rebuild r JOIN hologres.rebuild_step s ON s.query_id = id AND s.step = 'get_src_table_snapshot'
     WHERE r.query_id = id
$$;

-- The replica that is further behind than the task allows; NULL: none. A replica that has never told how far it
-- is (a base backup) does not count.
CREATE OR REPLACE FUNCTION hologres.replica_behind(id text) RETURNS text
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('waits for replica "%s": it is %s MB behind', application_name, behind / 1048576)
      FROM (SELECT application_name, pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint AS behind
              FROM pg_stat_replication) AS replicas
     WHERE behind > hologres.own_setting(id, 'throttle_replica_lag_mb') * 1048576::bigint
     ORDER BY behind DESC LIMIT 1
$$;

REVOKE ALL ON FUNCTION hologres.log_bytes(text), hologres.stop_for_log(text), hologres.shed_logs(),
    hologres.must_start_again(text), hologres.replica_behind(text) FROM PUBLIC;
