-- How the synchronisations are doing, for people (hudi_sync_status) and for the proxy's HTTP interface.
--
-- A target is lag_seconds behind: since the last run that found nothing newer began; or, when that run
-- left commits for later, since the first of these was completed. So it grows while runs fail, while
-- the task is paused, and while no worker is there.

CREATE FUNCTION pgveneer.hudi_lag_seconds(stats jsonb, success_start timestamptz)
    RETURNS double precision
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT extract(epoch FROM clock_timestamp() - CASE
               WHEN (stats ->> 'lag_commits')::bigint > 0 AND (stats ->> 'behind_since_ms')::float8 > 0
               THEN least(success_start, to_timestamp((stats ->> 'behind_since_ms')::float8 / 1000))
               ELSE success_start END)::float8
$$;

CREATE VIEW pgveneer.hudi_status_of_all AS
    SELECT t.owner,
           t.task_id,
           coalesce(pgveneer.qualified_name((t.params ->> 'target_oid')::oid),
                    t.params ->> 'target') AS target_tbl,
           coalesce(pgveneer.qualified_name((t.params ->> 'ftable_oid')::oid),
                    t.params ->> 'source') AS source_ftbl,
           CASE WHEN t.lease_until > pg_catalog.clock_timestamp() THEN 'running'
                ELSE t.state END AS state,
           t.failure_times,
           t.failure_count,
           t.last_error,
           t.last_error_time,
           t.success_start AS last_success_time,
           (SELECT h.detail ->> 'latest_commit' FROM pgveneer.task_history h
             WHERE h.task_id = t.task_id AND h.outcome = 'done'
             ORDER BY h.history_id DESC LIMIT 1) AS latest_commit,
           (t.stats ->> 'lag_commits')::bigint AS lag_commits,
           pgveneer.hudi_lag_seconds(t.stats, t.success_start) AS lag_seconds,
           t.row_count,
           t.rows_per_second
      FROM pgveneer.task t
     WHERE t.category = 'SQLonHudi' AND t.run_every IS NOT NULL;

-- A view reads with its owner's rights, so it filters by itself; current_user is the reader.
CREATE VIEW pgveneer.hudi_sync_status WITH (security_barrier) AS
    SELECT task_id, target_tbl, source_ftbl, state, failure_times, failure_count, last_error,
           last_error_time, last_success_time, latest_commit, lag_commits, lag_seconds, row_count,
           rows_per_second
      FROM pgveneer.hudi_status_of_all
     WHERE pg_catalog.pg_has_role(owner, 'USAGE') OR (SELECT pgveneer.is_administrator());
GRANT SELECT ON pgveneer.hudi_sync_status TO PUBLIC;

CREATE OR REPLACE FUNCTION pgveneer.feature_metrics() RETURNS SETOF pgveneer.metric
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH status AS MATERIALIZED (
        SELECT s.*, jsonb_build_object('task_id', task_id, 'target', target_tbl) AS labels
          FROM pgveneer.hudi_status_of_all s)
    SELECT 'pgveneer_hudi_lag_commits', 'gauge',
           'Completed commits of the Hudi table that the last run left for later.',
           labels, lag_commits FROM status WHERE lag_commits IS NOT NULL
    UNION ALL
    SELECT 'pgveneer_hudi_lag_seconds', 'gauge',
           'Seconds since the target was known to be up to date.',
           labels, lag_seconds FROM status WHERE lag_seconds IS NOT NULL
    UNION ALL
    SELECT 'pgveneer_hudi_rows_total', 'counter', 'Rows written and deleted by a task.',
           labels, row_count FROM status
    UNION ALL
    SELECT 'pgveneer_hudi_rows_per_second', 'gauge', 'Rows a second of the last run that moved.',
           labels, rows_per_second FROM status WHERE rows_per_second IS NOT NULL
$$;
