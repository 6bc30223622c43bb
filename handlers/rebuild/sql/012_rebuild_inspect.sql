-- What the vendor's clients ask about rebuilt tables and rebuilds: Hologres, "CREATE LOGICAL PARTITION TABLE" (other
-- operations) and "Query and analyze slow query logs"; spec/rebuild.md sections 1.2 and 1.5.

-- The values of a logical partitioned table's key that have rows: there a partition is there as long as it
-- has some. Two columns: the values with / between them. Rows in a DEFAULT partition count as any others.
CREATE OR REPLACE FUNCTION hologres.list_logical_partition(rel regclass) RETURNS SETOF text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    leaf record;
    list text := (SELECT string_agg(format('%I::pg_catalog.text', name), ' || ''/'' || ' ORDER BY n)
                    FROM unnest(hologres.list_columns(rel)) WITH ORDINALITY u(name, n));
BEGIN
    IF NOT hologres.is_logical(rel) THEN
        RAISE EXCEPTION '"%" is not a logical partitioned table', (SELECT relname FROM pg_class WHERE oid = rel)
            USING ERRCODE = '42809';
    END IF;
    FOR leaf IN
        SELECT CASE WHEN has_table_privilege(t.relid, 'SELECT') THEN hologres.qualified_name(t.relid)
               ELSE hologres.qualified_name(rel) || ' WHERE ' || pg_get_partition_constraintdef(t.relid) END AS source,
               pg_get_expr(c.relpartbound, c.oid) ~ '^FOR VALUES IN \([^,]*\)$' AND NOT EXISTS (
                   SELECT FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
                    WHERE i.inhrelid = t.relid AND p.relispartition
                      AND pg_get_expr(p.relpartbound, p.oid) !~ '^FOR VALUES IN \([^,]*\)$') AS has_one
          FROM pg_partition_tree(rel) t JOIN pg_class c ON c.oid = t.relid WHERE t.isleaf AND t.level > 0 LOOP
        RETURN QUERY EXECUTE format(CASE WHEN leaf.has_one THEN 'SELECT %s FROM %s LIMIT 1'
                                    ELSE 'SELECT DISTINCT %s FROM %s' END, list, leaf.source);
    END LOOP;
END $$;

-- The name is looked up with the caller's search_path.
CREATE OR REPLACE FUNCTION hologres.hg_list_logical_partition(table_name text) RETURNS TABLE (partition text)
    LANGUAGE sql STABLE STRICT
AS $$
    SELECT p FROM hologres.list_logical_partition(table_name::pg_catalog.regclass) p ORDER BY 1
$$;

-- What partitions of a logical partitioned table have alone. A rebuild gives all of them what the table has.
CREATE OR REPLACE VIEW hologres.hg_logical_partitioned_table_properties AS
    SELECT n.nspname::text AS table_namespace, c.relname::text AS table_name, pg_catalog.btrim(pg_catalog.substring(
               pg_catalog.pg_get_expr(l.relpartbound, l.oid), '^FOR VALUES IN \((.*)\)$'), '''') AS partition,
           p.key AS property_key, p.value AS property_value
      FROM hologres.table_property p
      JOIN pg_catalog.pg_class l ON l.oid = p.relid AND l.relispartition
      JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.pg_partition_root(l.oid) AND hologres.is_logical(c.oid)
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE NOT EXISTS (SELECT FROM hologres.table_property q WHERE q.relid = c.oid AND q.key = p.key AND q.value = p.value);
GRANT SELECT ON hologres.hg_logical_partitioned_table_properties TO PUBLIC;

-- Rebuilds that have ended, and each of their steps under the queryid that rebuild_progress shows, for a month. Of
-- other statements there is nothing: PostgreSQL keeps no log of them in a table.
CREATE OR REPLACE FUNCTION hologres.query_log()
    RETURNS TABLE (usename text, status text, query_id text, digest text, datname text, command_tag text,
                   duration integer, message text, query_start timestamptz, query_date text, query text,
                   pid integer, application_name text, engine_type text[], table_write text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT pg_get_userbyid(t.owner)::text, e.status, e.query_id, 'md5' || md5(t.what), current_database()::text,
           'ASYNC REBUILD TABLE', least(extract(epoch FROM e.end_time - e.start_time) * 1000, 2147483647)::integer, e.message, e.start_time,
           to_char(e.start_time, 'YYYYMMDD'), t.what, e.pid, 'pgveneer', '{PostgreSQL}'::text[],
           hologres.qualified_name(r.relid)
      FROM pgveneer.task t JOIN hologres.rebuild r ON r.query_id = t.task_id, LATERAL (
           SELECT r.query_id, CASE WHEN t.state = 'done' AND NOT r.cleaned THEN 'SUCCESS' ELSE 'FAILED' END AS status,
                  t.created_at AS start_time, max(s.end_time) AS end_time,
                  coalesce(max(s.message) FILTER (WHERE s.status = 'error'), '') AS message, max(s.pid) AS pid
             FROM hologres.rebuild_step s WHERE s.query_id = r.query_id AND t.state IN ('done', 'suspended')
           HAVING max(s.end_time) IS NOT NULL
           UNION ALL
           SELECT s.query_id || '_' || s.step_id || '_' || s.attempt,
                  CASE s.status WHEN 'error' THEN 'FAILED' ELSE 'SUCCESS' END, s.start_time, s.end_time, s.message, s.pid
             FROM hologres.rebuild_step s
            WHERE s.query_id = r.query_id AND s.attempt > 0 AND s.status IN ('done', 'error') AND s.end_time IS NOT NULL) AS e
     WHERE e.start_time > now() - interval '1 month'
$$;

CREATE OR REPLACE VIEW hologres.hg_query_log AS
    SELECT usename, status, query_id, digest, datname, command_tag, duration, message, query_start, query_date, query,
           NULL::bigint AS result_rows, NULL::bigint AS result_bytes, NULL::bigint AS read_rows, NULL::bigint AS read_bytes,
           NULL::bigint AS affected_rows, NULL::bigint AS affected_bytes, NULL::bigint AS memory_bytes,
           NULL::bigint AS shuffle_bytes, NULL::bigint AS cpu_time_ms, NULL::bigint AS physical_reads, pid,
           application_name, engine_type, NULL::text AS client_addr, table_write, NULL::text[] AS table_read,
           NULL::text AS session_id, NULL::timestamptz AS session_start, NULL::text AS command_id,
           NULL::integer AS optimization_cost, NULL::integer AS start_query_cost, NULL::integer AS get_next_cost,
           NULL::text AS extended_cost, NULL::text AS plan, NULL::text AS statistics, NULL::text AS visualization_info,
           NULL::text AS query_detail, NULL::text[] AS query_extinfo
      FROM hologres.query_log();
GRANT SELECT ON hologres.hg_query_log TO PUBLIC;
