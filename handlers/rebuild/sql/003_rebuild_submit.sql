-- revision 2
-- ASYNC REBUILD: what is checked when it is submitted, and how. Hologres, "REBUILD"; spec/rebuild.md
-- sections 1.1, 1.2, 2, 4.5; spec/decisions.md, "REBUILD".
--
-- The checks are done by PostgreSQL itself: an empty copy of the table is made, the actions of the
-- tasks that wait before this one and then its own are applied to it, each in a subtransaction, and
-- what fails is a reason; all of it is rolled back. Whether the copy got a new file tells whether
-- PostgreSQL would have rewritten the table, which is when rows are copied instead.
--
-- It runs with the rights of who submits, and reads his texts with his search_path.

DO $$ BEGIN
    IF pg_catalog.to_regtype('hologres.problem') IS NULL THEN
        CREATE TYPE hologres.problem AS (code text, message text, hint text);
    END IF;
END $$;

-- Raises all of them in one error.
CREATE OR REPLACE FUNCTION hologres.raise_problems(rel text, problems hologres.problem[]) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF cardinality(problems) = 1 THEN
        PERFORM hologres.raise(problems[1].code, problems[1].message, problems[1].hint);
    ELSIF cardinality(problems) > 1 THEN
        RAISE EXCEPTION 'cannot rebuild table %', rel
            USING ERRCODE = coalesce((SELECT p.code FROM unnest(problems) p
                                       WHERE p.code = '0A000' LIMIT 1), problems[1].code),
                  DETAIL = (SELECT string_agg(p.message || ' (' || p.code || ')'
                                || CASE WHEN p.hint <> '' THEN '; ' || p.hint ELSE '' END, E'\n'
                                ORDER BY n)
                              FROM unnest(problems) WITH ORDINALITY u(code, message, hint, n), 
                                   LATERAL (SELECT u.code, u.message, u.hint) p);
    END IF;
END $$;

-- The statements of an action on a table of this name. Partitioning and properties have others.
CREATE OR REPLACE FUNCTION hologres.action_statements(rel oid, target text, action jsonb) RETURNS SETOF text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    what constant text := action ->> 'do';
    col constant text := quote_ident(action ->> 'column');
    start constant text := format('ALTER TABLE %s ', target);
    pkey text;
BEGIN
    CASE what
    WHEN 'add' THEN
        RETURN NEXT start || format('ADD COLUMN %s %s', col, action ->> 'definition');
    WHEN 'type' THEN
        RETURN NEXT start || format('ALTER COLUMN %s TYPE %s', col, action ->> 'type')
            || coalesce(' USING (' || (action ->> 'using') || ')', '');
    WHEN 'set_default' THEN
        RETURN NEXT start || format('ALTER COLUMN %s SET DEFAULT %s', col, action ->> 'expression');
    WHEN 'drop_default' THEN
        RETURN NEXT start || format('ALTER COLUMN %s DROP DEFAULT', col);
    WHEN 'set_not_null' THEN
        RETURN NEXT start || format('ALTER COLUMN %s SET NOT NULL', col);
    WHEN 'drop_not_null' THEN
        RETURN NEXT start || format('ALTER COLUMN %s DROP NOT NULL', col);
    WHEN 'primary_key' THEN
        SELECT conname INTO pkey FROM pg_constraint WHERE conrelid = rel AND contype = 'p';
        RETURN NEXT start || coalesce('DROP CONSTRAINT ' || quote_ident(pkey) || ', ', '')
            || format('ADD PRIMARY KEY (%s)', (
                SELECT string_agg(quote_ident(c), ', ' ORDER BY n)
                  FROM jsonb_array_elements_text(action -> 'columns') WITH ORDINALITY e(c, n)));
    ELSE
        RETURN;
    END CASE;
END $$;

-- The files of a table and its indexes, which change where PostgreSQL would write rows or index
-- entries anew.
CREATE OR REPLACE FUNCTION hologres.files_of(rel oid) RETURNS oid[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(pg_relation_filenode(o) ORDER BY o) FROM (
        SELECT rel AS o UNION ALL SELECT indexrelid FROM pg_index WHERE indrelid = rel) AS files
$$;

CREATE OR REPLACE FUNCTION hologres.check_count(rel oid) RETURNS bigint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT count(*) FROM pg_constraint WHERE conrelid = rel AND contype = 'c' $$;

-- Applies actions to the empty copy `probe`. rewrites: rows would have been written.
CREATE OR REPLACE FUNCTION hologres.try_actions(probe oid, actions jsonb, path text,
                                                INOUT problems hologres.problem[], INOUT rewrites boolean)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target constant text := hologres.qualified_name(probe);
    action jsonb;
    statement text;
    files oid[];
    checks bigint;
    h text;
BEGIN
    FOR action IN SELECT a FROM jsonb_array_elements(actions) a LOOP
        files := hologres.files_of(probe);
        checks := hologres.check_count(probe);
        BEGIN
            FOR statement IN SELECT s FROM hologres.action_statements(probe, target, action) s LOOP
                PERFORM set_config('search_path', path, true);
                EXECUTE statement;
                PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
            END LOOP;
        EXCEPTION WHEN OTHERS THEN
            PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
            GET STACKED DIAGNOSTICS h = PG_EXCEPTION_HINT;
            problems := problems || (SQLSTATE, SQLERRM, h)::hologres.problem;
        END;
        IF action ->> 'do' IN ('add', 'type') THEN
            rewrites := rewrites OR files <> hologres.files_of(probe)
                        OR checks <> hologres.check_count(probe);
        END IF;
    END LOOP;
END $$;

-- The columns that a table is partitioned by, level by level, as far as that is LIST of a column; NULL: it
-- is not partitioned like that.
CREATE OR REPLACE FUNCTION hologres.list_columns(rel oid) RETURNS text[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE level AS (
        SELECT rel AS node, 1 AS n
        UNION ALL
        SELECT (SELECT min(i.inhrelid::bigint)::oid FROM pg_inherits i JOIN pg_partitioned_table p
                    ON p.partrelid = i.inhrelid WHERE i.inhparent = node), n + 1
          FROM level JOIN pg_partitioned_table t ON t.partrelid = node AND t.partstrat = 'l')
    SELECT array_agg(a.attname::text ORDER BY n) FROM level
      JOIN pg_partitioned_table p ON p.partrelid = node AND p.partstrat = 'l'
      JOIN pg_attribute a ON a.attrelid = node AND a.attnum = p.partattrs[0]
$$;

CREATE OR REPLACE FUNCTION hologres.is_logical(rel oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM hologres.table_property p JOIN pg_partitioned_table ON partrelid = p.relid
                    WHERE p.relid = rel AND value = 'true' AND key = 'is_logical_partitioned_table')
$$;

-- How a copy of the table is partitioned. NULL: not at all. values: a partition for each value of the
-- key's columns; tree: as the table is now.
CREATE OR REPLACE FUNCTION hologres.partition_way(rel oid, actions jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN EXISTS (SELECT FROM jsonb_array_elements(actions) a WHERE a ->> 'do' = 'partition')
                     OR hologres.is_logical(rel) THEN 'values'
                WHEN c.relkind = 'p' THEN 'tree' END
      FROM pg_class c WHERE c.oid = rel
$$;

-- The columns that the table is partitioned by once the actions are done; NULL: not at all.
CREATE OR REPLACE FUNCTION hologres.partition_columns(rel oid, actions jsonb) RETURNS text[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    action jsonb;
    columns text[] := hologres.list_columns(rel);
BEGIN
    FOR action IN SELECT a FROM jsonb_array_elements(actions) a WHERE a ->> 'do' = 'partition' LOOP
        columns := coalesce((SELECT array_agg(c ORDER BY n) FROM jsonb_array_elements_text(
                                nullif(action -> 'columns', 'null')) WITH ORDINALITY e(c, n)), columns);
    END LOOP;
    RETURN columns;
END $$;

-- Every column of the keys by which a tree of partitions is divided, on any level, within expressions too.
CREATE OR REPLACE FUNCTION hologres.key_columns_of_tree(rel oid) RETURNS text[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT array_agg(DISTINCT a.attname::text)
      FROM pg_partition_tree(rel) t JOIN pg_partitioned_table p ON p.partrelid = t.relid
      JOIN pg_attribute a ON a.attrelid = t.relid AND a.attnum > 0 AND (a.attnum = ANY (p.partattrs)
           OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                         AND d.objid = t.relid AND d.objsubid = 0 AND d.deptype IN ('i', 'a')
                         AND d.refclassid = 'pg_class'::regclass AND d.refobjid = t.relid
                         AND d.refobjsubid = a.attnum))
$$;

-- Unique indexes of `probe` that do not hold the columns of a partition key.
CREATE OR REPLACE FUNCTION hologres.key_problems(probe oid, columns text[]) RETURNS SETOF hologres.problem
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    index record;
BEGIN
    FOR index IN
        SELECT x.indisprimary, i.relname, x.indisexclusion FROM pg_index x
          JOIN pg_class i ON i.oid = x.indexrelid
         WHERE x.indrelid = probe AND (x.indisunique OR x.indisexclusion)
           AND EXISTS (SELECT FROM unnest(columns) c WHERE NOT EXISTS (
                    SELECT FROM pg_attribute a WHERE a.attrelid = probe AND a.attname = c
                       AND a.attnum = ANY ((x.indkey::int2[])[0:x.indnkeyatts - 1]))) LOOP
        RETURN NEXT ('0A000',
            'unique constraint on partitioned table must include all partitioning columns',
            CASE WHEN index.indisprimary THEN
                format('Add ALTER PRIMARY KEY (%s) to the same statement.', array_to_string(
                    ARRAY(SELECT quote_ident(a.attname) FROM pg_index x JOIN pg_attribute a
                            ON a.attrelid = probe AND a.attnum = ANY (x.indkey)
                           WHERE x.indrelid = probe AND x.indisprimary
                           ORDER BY array_position(x.indkey::int2[], a.attnum))
                    || ARRAY(SELECT quote_ident(c) FROM unnest(columns) c WHERE NOT EXISTS (
                            SELECT FROM pg_index x JOIN pg_attribute a ON a.attrelid = probe
                               AND a.attnum = ANY (x.indkey)
                             WHERE x.indrelid = probe AND x.indisprimary AND a.attname = c)),
                    ', '))
            ELSE format('Index "%s" does not.', index.relname) END)::hologres.problem;
    END LOOP;
END $$;

-- Partitioned table and key, as PostgreSQL asks for them; `probe` has the columns and the key that
-- the table will have.
CREATE OR REPLACE FUNCTION hologres.partition_problems(rel oid, probe oid, actions jsonb)
    RETURNS SETOF hologres.problem
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    action jsonb;
    columns text[] := hologres.partition_columns(rel, actions);
    col text;
BEGIN
    IF hologres.partition_way(rel, actions) = 'tree' THEN
        columns := hologres.key_columns_of_tree(rel);
        FOR col IN SELECT a ->> 'column' FROM jsonb_array_elements(actions) a
                    WHERE a ->> 'do' = 'type' AND a ->> 'column' = ANY (columns) LOOP
            RETURN NEXT ('42P16', format('cannot alter column "%s" because it is part of the partition key',
                         col), format('Add TO PARTITION BY LIST (%I) to the same statement.', col))
                ::hologres.problem;
        END LOOP;
        RETURN QUERY SELECT t.* FROM hologres.key_problems(probe, columns) t;
    ELSIF NOT EXISTS (SELECT FROM jsonb_array_elements(actions) a WHERE a ->> 'do' = 'partition') THEN
        RETURN QUERY SELECT t.* FROM hologres.key_problems(probe, columns) t;
    END IF;
    FOR action IN SELECT a FROM jsonb_array_elements(actions) a WHERE a ->> 'do' = 'partition' LOOP
        IF hologres.is_logical(rel) AND NOT (action ->> 'logical')::boolean THEN
            RETURN NEXT ('0A000', 'a logical partitioned table cannot be converted to a physical one',
                         '')::hologres.problem;
        END IF;
        IF columns IS NULL THEN
            RETURN NEXT ('42601', 'the partition key must be specified',
                         'Write TO PARTITION BY LIST (column).')::hologres.problem;
        ELSIF cardinality(columns) > 1 + (action ->> 'logical')::boolean::integer THEN
            RETURN NEXT ('0A000', format('a table cannot be partitioned by %s columns',
                                         cardinality(columns)),
                         'One column, or two with TO LOGICAL PARTITION.')::hologres.problem;
        END IF;
        FOREACH col IN ARRAY coalesce(columns, '{}') LOOP
            IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = probe AND attname = col
                              AND attnum > 0 AND NOT attisdropped) THEN
                RETURN NEXT ('42703', format('column "%s" named in partition key does not exist', col),
                             '')::hologres.problem;
            END IF;
        END LOOP;
        RETURN QUERY SELECT t.* FROM hologres.key_problems(probe, columns) t;
    END LOOP;
END $$;

-- Views that PostgreSQL makes us drop before it changes a type in its catalog.
CREATE OR REPLACE FUNCTION hologres.views_in_the_way(rel oid, actions jsonb) RETURNS SETOF oid
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT d.id FROM hologres.dependents_of(rel, hologres.changed_columns(rel, actions), true) d
                  WHERE d.kind = 'new view';
END $$;

-- Would the rows have to be copied? `rewrites` is what the probe said.
CREATE OR REPLACE FUNCTION hologres.needs_copy(rel oid, options jsonb, actions jsonb, rewrites boolean)
    RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT rewrites OR options ? 'keep_source'
        OR EXISTS (SELECT FROM jsonb_array_elements(actions) a WHERE a ->> 'do' = 'partition')
        OR EXISTS (SELECT FROM jsonb_array_elements(actions) a, jsonb_array_elements(
                          CASE a ->> 'do' WHEN 'set' THEN a -> 'properties' ELSE '[]' END) p
                    WHERE p ->> 'name' IN ('fillfactor', 'tablespace')
                       -- an index on a partitioned table cannot be built beside the writers
                       OR p ->> 'name' IN ('event_time_column', 'segment_key')
                          AND coalesce(p ->> 'value', '') <> ''
                          AND (SELECT relkind = 'p' FROM pg_class WHERE oid = rel)
                       OR p ->> 'name' = 'clustering_key' AND coalesce(p ->> 'value', '') <> ''
                       OR p ->> 'name' = 'table_group' AND EXISTS (
                          SELECT FROM pg_tablespace WHERE spcname = p ->> 'value'))
        -- these keep PostgreSQL from changing the type; a copy takes them with it
        OR EXISTS (SELECT FROM jsonb_array_elements(actions) a
                     JOIN pg_attribute c ON c.attrelid = rel AND c.attname = a ->> 'column'
                     JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = rel
                                     AND d.refobjsubid = c.attnum
                    WHERE a ->> 'do' = 'type' AND (
                          d.classid = ANY ('{pg_policy,pg_trigger,pg_proc,pg_publication_rel}'::regclass[])
                          OR d.classid = 'pg_rewrite'::regclass AND EXISTS (
                             SELECT FROM pg_rewrite w WHERE w.oid = d.objid AND w.rulename <> '_RETURN'
                                AND NOT EXISTS (SELECT FROM hologres.views_in_the_way(rel, actions) v
                                                 WHERE v = w.ev_class))))
        -- a foreign key holds on to the index of the primary key, a view with GROUP BY to its constraint
        OR EXISTS (SELECT FROM jsonb_array_elements(actions) a
                     JOIN pg_constraint k ON k.conrelid = rel AND k.contype = 'p'
                     JOIN pg_depend d ON d.refclassid = 'pg_constraint'::regclass AND d.refobjid = k.oid
                                      OR d.refclassid = 'pg_class'::regclass AND d.refobjid = k.conindid
                    WHERE a ->> 'do' = 'primary_key' AND d.deptype = 'n')
        -- values of a logical partitioned table's key
        OR EXISTS (SELECT FROM jsonb_array_elements(actions) a
                    WHERE a ->> 'do' = 'type' AND hologres.is_logical(rel)
                      AND a ->> 'column' = ANY (hologres.list_columns(rel)))
        -- an index on what is not there yet cannot be built beside the writers
        OR EXISTS (SELECT FROM jsonb_array_elements(actions) a,
                          jsonb_array_elements_text(CASE a ->> 'do' WHEN 'primary_key'
                                                    THEN a -> 'columns' ELSE '[]' END) k
                    WHERE (SELECT relkind = 'p' FROM pg_class WHERE oid = rel)
                       OR EXISTS (SELECT FROM jsonb_array_elements(actions) b
                                   WHERE b ->> 'do' IN ('add', 'type') AND b ->> 'column' = k))
$$;

-- rebuild_guc_hg_rebuild_<name>: what a rebuild does itself. All are numbers.
CREATE OR REPLACE FUNCTION hologres.own_settings()
    RETURNS TABLE (name text, smallest integer, largest integer, preset integer)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    VALUES ('workers', 1, 16, 2), ('slice_mb', 1, 65536, 32), ('switch_rows', 1, 100000, 200),
           ('lock_timeout_ms', 1, 10000, 30), ('max_lock_wait_s', 0, 999999, 0),
           ('max_log_mb', 0, 999999, 10240), ('throttle_replica_lag_mb', 0, 999999, 0)
$$;

CREATE OR REPLACE FUNCTION hologres.own_setting(id text, name text) RETURNS integer
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT least(greatest(coalesce((t.params #>> ARRAY['options', 'own', s.name])::integer, s.preset),
                          s.smallest), s.largest)
      FROM pgveneer.task t, hologres.own_settings() s WHERE t.task_id = id AND s.name = own_setting.name
$$;
REVOKE ALL ON FUNCTION hologres.own_setting(text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION hologres.can_see_replicas() RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT pg_has_role(nspowner, 'pg_read_all_stats', 'USAGE') FROM pg_namespace WHERE nspname = 'pgveneer' $$;

-- WITH (…) as an object: {"keep_source": true, "binlog_mode": true, "settings": {…}, "own": {…}}
CREATE OR REPLACE FUNCTION hologres.read_options(list jsonb, OUT options jsonb, OUT problems hologres.problem[])
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text;
    value text;
    short text; -- behind rebuild_guc_hg_rebuild_
    own record;
    -- what may differ from the server's in a rebuild: how much memory and how many processes it uses
    allowed constant text[] := '{work_mem,maintenance_work_mem,hash_mem_multiplier,temp_buffers,
        max_parallel_maintenance_workers,max_parallel_workers,max_parallel_workers_per_gather,
        effective_io_concurrency,maintenance_io_concurrency,synchronous_commit,vacuum_cost_delay,
        vacuum_cost_limit,effective_cache_size,random_page_cost,seq_page_cost,jit}';
BEGIN
    options := '{"settings": {}, "own": {}}';
    problems := '{}';
    FOR name, value IN SELECT p ->> 'name', p ->> 'value' FROM jsonb_array_elements(list) p LOOP
        IF name IN ('keep_source', 'binlog_mode') THEN
            IF coalesce(lower(value), 'true') NOT IN ('true', 'false', 'on', 'off') THEN
                problems := problems || ('22023', format('invalid value for parameter "%s": "%s"',
                                                         name, value), '')::hologres.problem;
            ELSIF coalesce(lower(value), 'true') IN ('true', 'on') THEN
                options := options || jsonb_build_object(name, true);
            END IF;
        ELSIF name LIKE 'rebuild\_guc\_hg\_rebuild\_%' THEN
            short := substr(name, 24);
            SELECT * INTO own FROM hologres.own_settings() o WHERE o.name = short;
            IF NOT FOUND THEN
                problems := problems || ('22023', format('unrecognized rebuild parameter "%s"', name),
                    format('Parameters of that kind are %s.', (SELECT string_agg('rebuild_guc_hg_rebuild_' || o.name,
                           ', ') FROM hologres.own_settings() o)))::hologres.problem;
            ELSIF coalesce(value, '') !~ '^\d{1,6}$' OR value::integer NOT BETWEEN own.smallest AND own.largest THEN
                problems := problems || ('22023', format('invalid value for parameter "%s": "%s"', name, value),
                    format('A number from %s to %s is needed.', own.smallest, own.largest))::hologres.problem;
            ELSE
                options := jsonb_set(options, ARRAY['own', short], to_jsonb(value));
            END IF;
            IF short = 'throttle_replica_lag_mb' AND NOT hologres.can_see_replicas() THEN
                problems := problems || ('42501', 'pgveneer''s service role cannot see how far replicas are behind',
                    'An administrator has to grant it pg_monitor.')::hologres.problem;
            END IF;
        ELSIF name LIKE 'rebuild\_guc\_hg\_%' THEN
            RAISE NOTICE 'parameter "%" has no meaning here and is ignored', name;
        ELSIF substr(name, 13) = ANY (allowed) AND name LIKE 'rebuild\_guc\_%' THEN
            BEGIN
                PERFORM set_config(substr(name, 13), coalesce(value, ''), true);
                RAISE EXCEPTION USING ERRCODE = 'HG000';
            EXCEPTION WHEN SQLSTATE 'HG000' THEN
                options := jsonb_set(options, ARRAY['settings', substr(name, 13)], to_jsonb(value));
            WHEN OTHERS THEN
                problems := problems || (SQLSTATE, SQLERRM, '')::hologres.problem;
            END;
        ELSIF name LIKE 'rebuild\_guc\_%' THEN
            problems := problems || ('22023', format('parameter "%s" cannot be set for a rebuild',
                substr(name, 13)), 'Settings of memory and parallelism can.')::hologres.problem;
        ELSE
            problems := problems || ('22023', format('unrecognized rebuild parameter "%s"', name),
                'Parameters are keep_source, binlog_mode and rebuild_guc_<name>.')::hologres.problem;
        END IF;
    END LOOP;
END $$;

-- Is the table's change log somebody's input? The vendor's binlog is a publication here.
CREATE OR REPLACE FUNCTION hologres.has_binlog(rel oid) RETURNS boolean
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM hologres.table_property
                    WHERE relid = rel AND key = 'binlog.level' AND lower(value) = 'replica')
        OR EXISTS (SELECT FROM pg_publication p, pg_get_publication_tables(p.pubname) t
                    WHERE t.relid = rel OR t.relid IN (SELECT relid FROM pg_partition_tree(rel)));
END $$;

-- A materialized view reads its table by oid, and nothing can make it read another one. In place only those of
-- columns whose type changes are in the way. columns NULL: all of them.
CREATE OR REPLACE FUNCTION hologres.materialized_views(rel oid, columns text[]) RETURNS SETOF hologres.problem
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT DISTINCT '0A000', format('materialized view %s depends on the table', hologres.qualified_name(m.oid)),
           'Drop it, and create it again after the rebuild; one that reads a view of the table can stay.'
      FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class m ON m.oid = r.ev_class
      LEFT JOIN pg_attribute a ON a.attrelid = rel AND a.attnum = d.refobjsubid
     WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = rel
       AND m.relkind = 'm' AND (columns IS NULL OR a.attname = ANY (columns))
     ORDER BY 2
$$;

-- What the catalogs say against rebuilding the table at all.
CREATE OR REPLACE FUNCTION hologres.table_problems(rel oid, options jsonb, actions jsonb)
    RETURNS SETOF hologres.problem
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c pg_class := (SELECT c FROM pg_class c WHERE c.oid = rel);
    service oid := (SELECT nspowner FROM pg_namespace WHERE nspname = 'pgveneer');
    may text := CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET'
                     ELSE 'MEMBER' END;
BEGIN
    IF c.relpersistence = 't' THEN
        RETURN NEXT ('0A000', 'temporary tables cannot be rebuilt', '')::hologres.problem;
    END IF;
    IF c.relnamespace::regnamespace::text IN
           ('pg_catalog', 'pg_toast', 'information_schema', 'pgveneer', 'hologres', 'hudi') THEN
        RETURN NEXT ('42809', 'system tables cannot be rebuilt', '')::hologres.problem;
    END IF;
    IF NOT pg_has_role(service, c.relowner, may) THEN
        RETURN NEXT ('42501', format('pgveneer''s service role "%s" is not a member of role "%s", '
            'which owns the table', pg_get_userbyid(service), pg_get_userbyid(c.relowner)),
            format('An administrator has to GRANT %I TO %I.', pg_get_userbyid(c.relowner),
                   pg_get_userbyid(service)))::hologres.problem;
    END IF;
    IF c.relispartition THEN
        RETURN NEXT ('0A000', 'a partition cannot be rebuilt alone',
                     'Rebuild its parent.')::hologres.problem;
    ELSIF EXISTS (SELECT FROM pg_inherits WHERE inhrelid = rel)
          OR c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits WHERE inhparent = rel) THEN
        RETURN NEXT ('0A000', 'tables with inheritance cannot be rebuilt', '')::hologres.problem;
    END IF;
    IF c.reloftype <> 0 THEN
        RETURN NEXT ('0A000', 'typed tables cannot be rebuilt', '')::hologres.problem;
    END IF;
    IF EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = rel
                  AND deptype = 'e') THEN
        RETURN NEXT ('0A000', 'tables of an extension cannot be rebuilt', '')::hologres.problem;
    END IF;
    RETURN QUERY SELECT p.* FROM hologres.materialized_views(rel, ARRAY(
        SELECT a ->> 'column' FROM jsonb_array_elements(actions) a WHERE a ->> 'do' = 'type')) p;
    IF NOT options ? 'binlog_mode' AND hologres.has_binlog(rel) THEN
        RETURN NEXT ('0A000', 'the changes of the table are published (binlog)',
            'Use WITH (binlog_mode), and RESUME the task when the consumer has read all changes.')
            ::hologres.problem;
    END IF;
END $$;

-- The reasons why the actions of a task cannot be carried out, and whether rows have to be copied.
-- earlier: actions of tasks on the table that are not done yet. temporary: where the probe lies; a job
-- cannot make a temporary one.
CREATE OR REPLACE FUNCTION hologres.examine(rel oid, options jsonb, earlier jsonb, actions jsonb, path text,
                                            temporary boolean, OUT problems hologres.problem[],
                                            OUT copies boolean)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off SET quote_all_identifiers = off
AS $$
DECLARE
    c pg_class := (SELECT c FROM pg_class c WHERE c.oid = rel);
    place text := CASE WHEN temporary THEN 'pg_temp' ELSE c.relnamespace::regnamespace::text END;
    name text := CASE WHEN temporary THEN c.relname
                      ELSE 'tmp_rebuild_probe_' || pg_backend_pid() END;
    probe oid;
    ignored hologres.problem[];
    rewrites boolean := false;
    properties jsonb := coalesce((SELECT jsonb_agg(p) FROM jsonb_array_elements(actions) a,
        jsonb_array_elements(CASE a ->> 'do' WHEN 'set' THEN a -> 'properties' ELSE '[]' END) p), '[]');
    statement text;
    reason hologres.problem;
BEGIN
    problems := ARRAY(SELECT t FROM hologres.table_problems(rel, options, actions) t);
    IF problems <> '{}' THEN
        RETURN; -- the copy could fail for the same reasons
    END IF;
    IF temporary AND to_regclass('pg_temp.' || quote_ident(name)) IS NOT NULL THEN
        name := 'tmp_rebuild_probe';
    END IF;
    BEGIN
        EXECUTE format('CREATE %s TABLE %s.%I (LIKE %s INCLUDING ALL EXCLUDING STATISTICS '
                       'EXCLUDING COMMENTS)', CASE WHEN temporary THEN 'TEMPORARY' ELSE '' END,
                       place, name, hologres.qualified_name(rel));
        probe := to_regclass(place || '.' || quote_ident(name));
        SELECT t.problems, t.rewrites INTO ignored, rewrites
          FROM hologres.try_actions(probe, earlier, path, '{}', false) t;
        SELECT t.problems, t.rewrites INTO problems, rewrites
          FROM hologres.try_actions(probe, actions, path, '{}', false) t;
        problems := problems
            || ARRAY(SELECT (p.code, p.message, p.hint)::hologres.problem
                       FROM hologres.property_problems(properties, hologres.column_names(probe)) p)
            || ARRAY(SELECT t FROM hologres.partition_problems(rel, probe, actions) t);
        FOR statement IN SELECT s FROM hologres.property_statements(
                             probe, hologres.qualified_name(probe), properties) s
                          WHERE problems = '{}' AND s NOT LIKE 'CREATE INDEX %' LOOP
            BEGIN
                EXECUTE statement;
            EXCEPTION WHEN OTHERS THEN
                problems := problems || (SQLSTATE, SQLERRM, '')::hologres.problem;
            END;
        END LOOP;
        IF temporary AND name = c.relname AND EXISTS (SELECT FROM jsonb_array_elements(actions) a
                                                       WHERE a ->> 'do' IN ('type', 'primary_key')) THEN
            problems := problems || ARRAY(SELECT t FROM hologres.try_dependents(rel, probe, actions) t);
        END IF;
        problems := problems || ARRAY(SELECT t FROM hologres.key_problems_of(rel, actions, path) t);
        IF temporary AND problems = '{}' THEN
            problems := ARRAY(SELECT t FROM hologres.try_keys(rel, probe, actions, path) t);
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'HG000'; -- all of it goes
    EXCEPTION WHEN SQLSTATE 'HG000' THEN
        NULL;
    END;
    copies := hologres.needs_copy(rel, options, actions, rewrites);
    IF copies THEN
        problems := problems || ARRAY(SELECT t FROM hologres.copy_problems(rel, actions) t);
    ELSE
        problems := problems || ARRAY(SELECT t FROM hologres.dependent_problems(rel, actions, true) t);
    END IF;
    IF copies THEN
        IF temporary AND problems = '{}' THEN
            PERFORM hologres.tell_children(rel);
        END IF;
    END IF;
END $$;

-- The task -----------------------------------------------------------------------------------------

-- 18 digits: seconds, then a counter. Of one transaction the later is the greater.
CREATE SEQUENCE IF NOT EXISTS hologres.rebuild_number;
CREATE OR REPLACE FUNCTION hologres.new_query_id() RETURNS text
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT lpad(extract(epoch FROM clock_timestamp())::bigint::text, 10, '0')
        || lpad((nextval('hologres.rebuild_number') % 100000000)::text, 8, '0')
$$;

-- Who owns a table sees the tasks on it, whoever submitted them: a later one waits for them.
DROP POLICY IF EXISTS rebuild_see ON pgveneer.task;
CREATE POLICY rebuild_see ON pgveneer.task FOR SELECT
    USING (category = 'REBUILD' AND hologres.owns_relation((params ->> 'relid')::oid));
DROP POLICY IF EXISTS rebuild_make ON pgveneer.task;
CREATE POLICY rebuild_make ON pgveneer.task FOR INSERT
    WITH CHECK (category = 'REBUILD' AND owner = pgveneer.current_user_oid());

CREATE OR REPLACE FUNCTION hologres.waiting_actions(rel oid) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_agg(a ORDER BY t.created_at, t.task_id, n), '[]')
      FROM pgveneer.task t, jsonb_array_elements(t.params -> 'actions') WITH ORDINALITY e(a, n)
     WHERE t.category = 'REBUILD' AND t.state <> 'done' AND (t.params ->> 'relid')::oid = rel
$$;

-- Decides whether a row is a task. A statement written by hand gets no further than a submit.
CREATE OR REPLACE FUNCTION hologres.rebuild_task_guard() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rel oid := NEW.params ->> 'relid';
    verdict record;
BEGIN
    IF jsonb_typeof(NEW.params -> 'actions') IS DISTINCT FROM 'array'
       OR jsonb_typeof(NEW.params -> 'options') IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'invalid parameters of a rebuild' USING ERRCODE = '22023';
    END IF;
    PERFORM hologres.own_table(rel, ARRAY[hologres.qualified_name(rel)], false);
    -- the one that is submitted second sees the first
    PERFORM pg_advisory_xact_lock('hologres.rebuild'::regclass::oid::integer, rel::integer);
    verdict := hologres.examine(rel, NEW.params -> 'options', hologres.waiting_actions(rel),
                                NEW.params -> 'actions', NEW.params ->> 'search_path', true);
    PERFORM hologres.raise_problems(hologres.qualified_name(rel), verdict.problems);
    NEW.task_id := hologres.new_query_id();
    NEW.what := coalesce(NEW.params ->> 'statement', '');
    NEW.run_every := NULL;
    RETURN NEW;
END $$;
DROP TRIGGER IF EXISTS rebuild_task_guard ON pgveneer.task;
CREATE TRIGGER rebuild_task_guard BEFORE INSERT ON pgveneer.task
    FOR EACH ROW WHEN (NEW.category = 'REBUILD') EXECUTE FUNCTION hologres.rebuild_task_guard();

-- What rebuild_progress shows from the beginning.
CREATE OR REPLACE FUNCTION hologres.rebuild_task_made() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO hologres.rebuild (query_id, relid) VALUES (NEW.task_id, (NEW.params ->> 'relid')::oid);
    INSERT INTO hologres.rebuild_step (query_id, step_id, step, progress)
    SELECT NEW.task_id, n, step,
           CASE WHEN step LIKE '%additional%' OR step = 're-insert' THEN '-' ELSE '0/1' END
      FROM unnest('{prepare,create_tmp_table,get_src_table_snapshot,insert,set_readonly,check_snapshot,
                    re-insert,check_additional_child_table,create_additional_child_table,
                    insert_additional_child_table,swap}'::text[]) WITH ORDINALITY u(step, n);
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS rebuild_task_made ON pgveneer.task;
CREATE TRIGGER rebuild_task_made AFTER INSERT ON pgveneer.task
    FOR EACH ROW WHEN (NEW.category = 'REBUILD') EXECUTE FUNCTION hologres.rebuild_task_made();

-- Settings of the session that decide how texts are read and values converted.
CREATE OR REPLACE FUNCTION hologres.session_settings() RETURNS jsonb
    LANGUAGE sql STABLE SET quote_all_identifiers = off
AS $$
    SELECT pg_catalog.jsonb_object_agg(s.name, s.setting) FROM pg_catalog.pg_settings s
     WHERE s.name OPERATOR(pg_catalog.=) ANY ('{timezone,TimeZone,DateStyle,IntervalStyle,lc_monetary,
           lc_numeric,lc_time,default_text_search_config,extra_float_digits,bytea_output,xmloption,
           xmlbinary,array_nulls}'::pg_catalog.text[])
$$;

CREATE OR REPLACE FUNCTION hologres.submit(rel oid, list jsonb, actions jsonb, statement text, path text,
                                           settings jsonb) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    read record := hologres.read_options(list);
    action jsonb;
    id text;
BEGIN
    PERFORM hologres.raise_problems(hologres.qualified_name(rel), read.problems);
    INSERT INTO pgveneer.task (category, params) VALUES ('REBUILD', jsonb_build_object(
        'relid', rel, 'options', read.options, 'actions', actions, 'statement', statement,
        'search_path', path, 'settings', settings))
    RETURNING task_id INTO id;
    FOR action IN SELECT a FROM jsonb_array_elements(actions) a WHERE a ->> 'do' = 'set' LOOP
        PERFORM hologres.tell_properties(action -> 'properties');
    END LOOP;
    RETURN id;
END $$;

-- The one row of ASYNC REBUILD; none without a table. Names are looked up with the caller's search_path.
DROP PROCEDURE IF EXISTS hologres.rebuild_submit(text[], boolean, jsonb, jsonb, text, text);
CREATE OR REPLACE FUNCTION hologres.rebuild_submit(name text[], if_exists boolean, options jsonb, actions jsonb,
                                                   statement text) RETURNS TABLE (query_id text)
    LANGUAGE plpgsql
AS $$
DECLARE
    rel pg_catalog.oid := hologres.own_table(hologres.find_relation(name), name, if_exists);
BEGIN
    IF rel IS NOT NULL THEN
        query_id := hologres.submit(rel, options, actions, statement, (
            SELECT pg_catalog.string_agg(pg_catalog.quote_ident(s), ', ')
              FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) s),
            hologres.session_settings());
        RETURN NEXT;
    END IF;
END $$;
