-- revision 2
-- What a job asks of a rebuild, and the statements of one that copies nothing: spec/rebuild.md
-- section 2. All of these are for the service role.

-- Everything that a job wants to know at its start.
DROP FUNCTION IF EXISTS hologres.job_state(text); -- its columns change
CREATE OR REPLACE FUNCTION hologres.job_state(id text)
    RETURNS TABLE (relid oid, name text, owner text, strategy text, capture text, waits boolean,
                   resumed boolean, is_owner boolean, predecessor text, binlog boolean,
                   keep_source boolean, new_name text, cleaned boolean, lock_timeout_ms integer,
                   max_lock_wait_s integer, workers integer, switch_rows integer, commits_late boolean,
                   throttles boolean)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT r.relid, hologres.qualified_name(r.relid), pg_get_userbyid(c.relowner), r.strategy,
           r.capture, r.waits, r.resumed, pg_has_role(t.owner, c.relowner, 'USAGE'),
           (SELECT b.task_id FROM pgveneer.task b
             WHERE b.category = 'REBUILD' AND b.state <> 'done' AND b.task_id <> id
               AND (b.params ->> 'relid')::oid = r.relid
               AND (b.created_at, b.task_id) < (t.created_at, t.task_id)
             ORDER BY b.created_at, b.task_id LIMIT 1),
           t.params -> 'options' ? 'binlog_mode', t.params -> 'options' ? 'keep_source',
           hologres.qualified_name(r.new_relid), r.cleaned,
           hologres.own_setting(id, 'lock_timeout_ms'), hologres.own_setting(id, 'max_lock_wait_s'),
           hologres.own_setting(id, 'workers'), hologres.own_setting(id, 'switch_rows'),
           coalesce(t.params #>> '{options,settings,synchronous_commit}', 'off') = 'off',
           hologres.own_setting(id, 'throttle_replica_lag_mb') > 0
      FROM hologres.rebuild r JOIN pgveneer.task t ON t.task_id = r.query_id
      LEFT JOIN pg_class c ON c.oid = r.relid
     WHERE r.query_id = id
$$;

-- PL/pgSQL that reads texts as their author's session would.
CREATE OR REPLACE FUNCTION hologres.author_settings(id text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(string_agg(format('PERFORM pg_catalog.set_config(%L, %L, true);', key, value),
                               E'\n' ORDER BY key), '')
           || format(E'\nPERFORM pg_catalog.set_config(''search_path'', %L, true);',
                     (SELECT params ->> 'search_path' FROM pgveneer.task WHERE task_id = id))
      FROM pgveneer.task t, jsonb_each_text(coalesce(t.params -> 'settings', '{}')
                                            || coalesce(t.params #> '{options,settings}', '{}')) e
     WHERE t.task_id = id
$$;

-- Statements as PL/pgSQL, each read with the author's search_path.
CREATE OR REPLACE FUNCTION hologres.as_body(statements text[]) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(string_agg(format('EXECUTE %L;', s), E'\n' ORDER BY n), '')
      FROM unnest(statements) WITH ORDINALITY u(s, n)
$$;

-- The examination of submit once more, by the table's owner; the verdict goes to pg_temp.rebuild_out.
CREATE OR REPLACE FUNCTION hologres.prepare_body(id text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('PERFORM pg_catalog.set_config(''row_security'', ''on'', true);'
                  'INSERT INTO pg_temp.rebuild_out (value) SELECT pg_catalog.to_jsonb(x) FROM '
                  'hologres.examine(%s, %L, ''[]'', %L, %L, false) x;', r.relid,
                  t.params -> 'options', t.params -> 'actions', t.params ->> 'search_path')
      FROM hologres.rebuild r JOIN pgveneer.task t ON t.task_id = r.query_id WHERE r.query_id = id
$$;

-- Takes the verdict over: the problems are raised, the strategy is written down.
CREATE OR REPLACE FUNCTION hologres.take_verdict(id text, verdict jsonb) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    chosen text := CASE WHEN (verdict ->> 'copies')::boolean THEN 'copy' ELSE 'in place' END;
    rel oid := (SELECT relid FROM hologres.rebuild WHERE query_id = id);
BEGIN
    PERFORM hologres.raise_problems(hologres.qualified_name(rel), ARRAY(
        SELECT (p ->> 'code', p ->> 'message', p ->> 'hint')::hologres.problem
          FROM jsonb_array_elements(verdict -> 'problems') p));
    UPDATE hologres.rebuild SET strategy = chosen WHERE query_id = id;
    PERFORM hologres.note_unproved(id);
    IF chosen = 'in place' THEN
        UPDATE hologres.rebuild_step SET progress = '-' WHERE query_id = id
           AND step NOT IN ('prepare', 'set_readonly', 'swap');
    END IF;
    DELETE FROM hologres.table_property p
     WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = p.relid);
    RETURN chosen;
END $$;

-- In place -----------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION hologres.task_actions(id text) RETURNS TABLE (action jsonb, n bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT a, n FROM pgveneer.task t, jsonb_array_elements(t.params -> 'actions') WITH ORDINALITY e(a, n)
     WHERE t.task_id = id
$$;
CREATE OR REPLACE FUNCTION hologres.task_properties(id text) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_agg(p ORDER BY n, m), '[]')
      FROM hologres.task_actions(id) a, jsonb_array_elements(a.action -> 'properties')
           WITH ORDINALITY e(p, m) WHERE a.action ->> 'do' = 'set'
$$;

-- Columns that become NOT NULL: a check that is validated beside the writers proves it first.
CREATE OR REPLACE FUNCTION hologres.not_null_checks(id text)
    RETURNS TABLE (column_name text, constraint_name text, is_valid boolean)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT a.attname, 'tmp_rebuild_' || id || '_' || a.attnum,
           (SELECT convalidated FROM pg_constraint WHERE conrelid = a.attrelid
               AND conname = 'tmp_rebuild_' || id || '_' || a.attnum)
      FROM hologres.rebuild r JOIN pg_attribute a ON a.attrelid = r.relid AND a.attnum > 0
                                                 AND NOT a.attisdropped AND NOT hologres.is_never_null(a)
     WHERE r.query_id = id AND EXISTS (
           SELECT FROM hologres.task_actions(id) t
            WHERE t.action ->> 'do' = 'set_not_null' AND t.action ->> 'column' = a.attname
               OR t.action ->> 'do' = 'primary_key' AND t.action -> 'columns' ? a.attname)
     ORDER BY a.attnum
$$;

-- Indexes that are built beside the writers: of the new primary key, and of a segment key.
CREATE OR REPLACE FUNCTION hologres.concurrent_indexes(id text)
    RETURNS TABLE (index_name text, is_valid boolean, statement text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
    WITH wanted AS (
        SELECT r.relid, 'tmp_rebuild_' || id || '_pkey' AS name, 'UNIQUE' AS kind, 'btree' AS method, (
               SELECT string_agg(quote_ident(k), ', ' ORDER BY o)
                 FROM jsonb_array_elements_text(t.action -> 'columns') WITH ORDINALITY e(k, o)) AS list
          FROM hologres.rebuild r, hologres.task_actions(id) t
         WHERE r.query_id = id AND t.action ->> 'do' = 'primary_key'
           AND t.n = (SELECT max(b.n) FROM hologres.task_actions(id) b
                       WHERE b.action ->> 'do' = 'primary_key')
        UNION ALL
        SELECT r.relid, 'tmp_rebuild_' || id || '_segment', '', 'brin',
               hologres.order_list(p ->> 'value')
          FROM hologres.rebuild r, jsonb_array_elements(hologres.task_properties(id)) p
         WHERE r.query_id = id AND p ->> 'name' IN ('event_time_column', 'segment_key')
           AND p ->> 'value' <> ''
           AND EXISTS (SELECT FROM hologres.property_statements(r.relid,
                              hologres.qualified_name(r.relid), jsonb_build_array(p)) s)
           AND (SELECT relkind = 'r' FROM pg_class WHERE oid = r.relid))
    SELECT format('%I.%I', n.nspname, w.name),
           (SELECT x.indisvalid FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
             WHERE x.indrelid = w.relid AND i.relname = w.name),
           format('CREATE %s INDEX CONCURRENTLY %I ON %I.%I USING %s (%s)', w.kind, w.name,
                  n.nspname, c.relname, w.method, w.list)
      FROM wanted w JOIN pg_class c ON c.oid = w.relid JOIN pg_namespace n ON n.oid = c.relnamespace
$$;

-- A free name for an index or constraint: base, base1, …
CREATE OR REPLACE FUNCTION hologres.free_name(schema oid, base text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := left(base, 63);
    n integer := 0;
BEGIN
    WHILE EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = schema AND c.relname = name) LOOP
        n := n + 1;
        name := left(base, 63 - length(n::text)) || n;
    END LOOP;
    RETURN name;
END $$;

-- The transaction that changes the table, in order.
CREATE OR REPLACE FUNCTION hologres.in_place_statements(id text) RETURNS SETOF text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    rel oid := (SELECT relid FROM hologres.rebuild WHERE query_id = id);
    c pg_class := (SELECT c FROM pg_class c WHERE c.oid = rel);
    target text := hologres.qualified_name(rel);
    pkey text := (SELECT conname FROM pg_constraint WHERE conrelid = rel AND contype = 'p');
    t record;
    prepared text[] := ARRAY(SELECT column_name FROM hologres.not_null_checks(id));
    last_key bigint := (SELECT max(n) FROM hologres.task_actions(id)
                         WHERE action ->> 'do' = 'primary_key');
    name text;
BEGIN
    FOREACH name IN ARRAY prepared LOOP
        RETURN NEXT format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL', target, name);
    END LOOP;
    FOR name IN SELECT constraint_name FROM hologres.not_null_checks(id)
                 WHERE is_valid IS NOT NULL LOOP
        RETURN NEXT format('ALTER TABLE %s DROP CONSTRAINT %I', target, name);
    END LOOP;
    FOR t IN SELECT * FROM hologres.task_actions(id) ORDER BY n LOOP
        CONTINUE WHEN t.action ->> 'do' = 'primary_key' AND t.n <> last_key;
        IF t.action ->> 'do' = 'primary_key' THEN
            RETURN NEXT format('ALTER TABLE %s %sADD CONSTRAINT %I PRIMARY KEY USING INDEX %I', target,
                coalesce('DROP CONSTRAINT ' || quote_ident(pkey) || ', ', ''),
                coalesce(pkey, hologres.free_name(c.relnamespace, left(c.relname, 58) || '_pkey')),
                'tmp_rebuild_' || id || '_pkey');
        ELSE
            RETURN QUERY SELECT s FROM hologres.action_statements(rel, target, t.action) s;
        END IF;
    END LOOP;
    RETURN QUERY SELECT s FROM pgveneer.task y, hologres.added_key_statements(rel, target, y.params -> 'actions',
                                                                              y.params ->> 'search_path') s
                  WHERE y.task_id = id;
    RETURN QUERY SELECT s FROM hologres.property_statements(rel, target, hologres.task_properties(id)) s
                  WHERE s NOT LIKE 'CREATE INDEX %';
    RETURN QUERY SELECT format('ALTER INDEX %s RENAME TO %I', i.index_name,
                     hologres.free_name(c.relnamespace, left(c.relname, 50) || '_segment_key'))
                   FROM hologres.concurrent_indexes(id) i WHERE i.index_name LIKE '%\_segment';
END $$;

-- The last words of any rebuild, in the transaction that makes it visible.
CREATE OR REPLACE FUNCTION hologres.finish(id text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM hologres.store_properties((SELECT relid FROM hologres.rebuild WHERE query_id = id),
                                      hologres.task_properties(id));
    UPDATE hologres.rebuild_step SET status = NULL, progress = '-', message = ''
     WHERE query_id = id AND step = 'insert'
       AND (SELECT strategy = 'in place' FROM hologres.rebuild WHERE query_id = id);
END $$;

-- These are the job's alone; what submit calls as the user stays open.
REVOKE ALL ON FUNCTION hologres.job_state(text), hologres.author_settings(text),
    hologres.prepare_body(text), hologres.take_verdict(text, jsonb), hologres.task_actions(text),
    hologres.task_properties(text), hologres.not_null_checks(text), hologres.concurrent_indexes(text),
    hologres.in_place_statements(text), hologres.finish(text) FROM PUBLIC;
