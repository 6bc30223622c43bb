-- revision 2
-- rebuild_guc_<name>: settings of memory and parallelism for the work of one rebuild. Hologres, "REBUILD";
-- spec/rebuild.md section 1.4. Which of them are taken, read_options says.

-- Rows of tasks can be written by hand; what is set for the service's own session is looked at again.
CREATE OR REPLACE FUNCTION hologres.allowed_settings() RETURNS text[]
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '{work_mem,maintenance_work_mem,hash_mem_multiplier,temp_buffers,
             max_parallel_maintenance_workers,max_parallel_workers,max_parallel_workers_per_gather,
             effective_io_concurrency,maintenance_io_concurrency,synchronous_commit,vacuum_cost_delay,
             vacuum_cost_limit,effective_cache_size,random_page_cost,seq_page_cost,jit}'::text[]
$$;

-- For statements that a job sends itself: the building of indexes.
CREATE OR REPLACE FUNCTION hologres.setting_statements(id text, is_local boolean) RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('SET %s %I = %L', CASE WHEN is_local THEN 'LOCAL' ELSE '' END, key, value)
      FROM pgveneer.task t, jsonb_each_text(t.params #> '{options,settings}') e
     WHERE t.task_id = id AND key = ANY (hologres.allowed_settings())
$$;

REVOKE ALL ON FUNCTION hologres.setting_statements(text, boolean) FROM PUBLIC;
