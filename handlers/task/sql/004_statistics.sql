-- Statistics of tasks: what pg_task_show does not tell, and what the HTTP interface of the proxy prints.

ALTER TABLE pgveneer.task
    ADD COLUMN success_start timestamptz,           -- when the last run that succeeded began
    ADD COLUMN stats jsonb NOT NULL DEFAULT '{}',   -- of the category, as that run told it
    ADD COLUMN row_count bigint NOT NULL DEFAULT 0, -- sum over the history
    ADD COLUMN rows_per_second double precision,    -- of the last run that changed something
    ADD COLUMN failure_count bigint NOT NULL DEFAULT 0,
    ADD COLUMN last_error text,
    ADD COLUMN last_error_time timestamptz;

-- A metric in the sense of Prometheus. Features add theirs by replacing feature_metrics.
CREATE TYPE pgveneer.metric AS (name text, type text, help text, labels jsonb, value double precision);

CREATE FUNCTION pgveneer.feature_metrics() RETURNS SETOF pgveneer.metric
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT NULL::text, NULL::text, NULL::text, NULL::jsonb, NULL::float8 WHERE false $$;

CREATE FUNCTION pgveneer.metrics() RETURNS SETOF pgveneer.metric
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'pgveneer_tasks', 'gauge', 'Tasks by category and state.',
           jsonb_build_object('category', category, 'state',
               CASE WHEN lease_until > clock_timestamp() THEN 'running' ELSE state END), count(*)
      FROM pgveneer.task GROUP BY 4
    UNION ALL
    SELECT 'pgveneer_task_failure_times', 'gauge', 'Failures of a task in a row.',
           jsonb_build_object('category', category, 'task_id', task_id), failure_times
      FROM pgveneer.task WHERE run_every IS NOT NULL
    UNION ALL
    SELECT 'pgveneer_task_failures_total', 'counter', 'Runs of a task that failed.',
           jsonb_build_object('category', category, 'task_id', task_id), failure_count
      FROM pgveneer.task WHERE run_every IS NOT NULL
    UNION ALL
    SELECT * FROM pgveneer.feature_metrics()
$$;
REVOKE ALL ON FUNCTION pgveneer.metrics() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgveneer.feature_metrics() FROM PUBLIC;
