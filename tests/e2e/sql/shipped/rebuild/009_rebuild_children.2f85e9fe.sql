-- Rebuilds of tables that are partitioned already: their partitions while the rows are copied. spec/rebuild.md
-- section 1.2, "check_additional_child_table" and the two steps behind it; spec/decisions.md, "REBUILD".
--
-- Rows of a partition are followed by the triggers that it has from its parent, and by one for TRUNCATE of its
-- own. While it is attached, its first trigger is the same one: rebuild_child knows it. Partitions come and go
-- between two rounds only (hold_statements), and are taken up before the next one:
--
--   one came    its keys are logged, all of them; where the copy is divided alike it gets its counterpart
--   one went    divided alike: the keys of its counterpart are logged, and that is dropped; otherwise the keys
--               of the copy that the source does not have any more
--
-- Whatever is taken out of the copy has its key in the log first: the next round brings it back if it is still
-- somewhere in the source. A table without key is read-only; when its partitions change, the rebuild starts again.

-- What is attached now. mark is NULL where the triggers have not been made yet.
CREATE FUNCTION hologres.attached_children(id text)
    RETURNS TABLE (relid oid, parent oid, level integer, kind "char", bound text, mark oid)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    SET quote_all_identifiers = off
AS $$
    SELECT t.relid, t.parentrelid, t.level, c.relkind, pg_get_expr(c.relpartbound, c.oid), g.oid
      FROM hologres.rebuild r CROSS JOIN LATERAL pg_partition_tree(r.relid) t JOIN pg_class c ON c.oid = t.relid
      LEFT JOIN pg_trigger g ON g.tgrelid = t.relid AND g.tgname = CASE r.capture
           WHEN 'key' THEN 'tmp_rebuild_' || id || '_1' ELSE 'hologres_readonly_row' END
     WHERE r.query_id = id AND t.level > 0
$$;

CREATE FUNCTION hologres.children_came(id text) RETURNS TABLE (relid oid, parent oid, level integer,
                                                               kind "char", bound text, mark oid)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT a.* FROM hologres.attached_children(id) a
     WHERE NOT EXISTS (SELECT FROM hologres.rebuild_child c WHERE c.query_id = id
                          AND (c.relid, c.mark, c.bound) = (a.relid, a.mark, a.bound))
$$;

CREATE FUNCTION hologres.children_gone(id text) RETURNS SETOF hologres.rebuild_child
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT c.* FROM hologres.rebuild_child c WHERE c.query_id = id
       AND NOT EXISTS (SELECT FROM hologres.attached_children(id) a
                        WHERE (c.relid, c.mark, c.bound) = (a.relid, a.mark, a.bound))
$$;

CREATE FUNCTION hologres.children_known(id text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT NOT EXISTS (SELECT FROM hologres.children_came(id))
       AND NOT EXISTS (SELECT FROM hologres.children_gone(id))
$$;

-- Whether what was copied so far is followed. A table without key cannot take up a partition that came.
CREATE FUNCTION hologres.is_followed(id text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT CASE WHEN r.capture = 'readonly' THEN hologres.is_readonly(r.relid) AND hologres.children_known(id)
                WHEN r.waits THEN hologres.is_readonly(r.relid)
                ELSE hologres.is_captured(id) END
      FROM hologres.rebuild r WHERE r.query_id = id
$$;

-- Attaching and detaching wait for these locks, and nobody else.
CREATE FUNCTION hologres.hold_statements(id text) RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    SET quote_all_identifiers = off
AS $$
    SELECT format('LOCK TABLE ONLY %s IN SHARE UPDATE EXCLUSIVE MODE', hologres.qualified_name(t.relid))
      FROM hologres.rebuild r, pg_partition_tree(r.relid) t
     WHERE r.query_id = id AND NOT t.isleaf AND (SELECT relkind = 'p' FROM pg_class WHERE oid = t.relid)
     ORDER BY t.level, t.relid
$$;

-- Raises an error that is tried again.
CREATE FUNCTION hologres.check_children(id text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
BEGIN
    IF NOT hologres.children_known(id) THEN
        RAISE EXCEPTION 'a partition was attached or detached meanwhile' USING ERRCODE = '55P03';
    END IF;
END $$;

-- Partitions that ALTER TABLE ... DETACH PARTITION CONCURRENTLY has not let go yet: they would go with the old table.
CREATE FUNCTION hologres.check_detached(rel oid) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    child oid;
BEGIN
    SELECT i.inhrelid INTO child FROM pg_inherits i
     WHERE (i.inhparent = rel OR i.inhparent IN (SELECT relid FROM pg_partition_tree(rel)))
       AND (to_jsonb(i) ->> 'inhdetachpending')::boolean; -- PostgreSQL 14 and later
    IF FOUND THEN
        RAISE EXCEPTION 'partition % is being detached', hologres.qualified_name(child) USING ERRCODE = '55P03';
    END IF;
END $$;

-- TRUNCATE of a partition alone is nothing that its parent's triggers see.
CREATE FUNCTION hologres.truncate_statements(id text) RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    SET quote_all_identifiers = off
AS $$
    SELECT format(s, 'tmp_rebuild_' || id || '_4', hologres.qualified_name(t.relid), 'hologres.rebuild_log_' || id)
      FROM hologres.rebuild r, pg_partition_tree(r.relid) t,
           unnest('{CREATE TRIGGER %1$I AFTER TRUNCATE ON %2$s EXECUTE FUNCTION %3$s_truncate(),
                    ALTER TABLE ONLY %2$s ENABLE ALWAYS TRIGGER %1$I}'::text[]) WITH ORDINALITY u(s, n)
     WHERE r.query_id = id AND r.capture = 'key' AND t.level > 0
       AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = t.relid
                          AND g.tgname = 'tmp_rebuild_' || id || '_4')
     ORDER BY t.relid, n
$$;

-- Where the keys of `source`, whose key columns have these names, are logged.
CREATE FUNCTION hologres.log_keys(id text, names text[], source text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp SET jit = off
    SET quote_all_identifiers = off
AS $$
    SELECT format('INSERT INTO hologres.rebuild_log_%s (%s) SELECT %s FROM %s', id,
                  string_agg('k' || n, ', ' ORDER BY n), string_agg(format('tmp_rebuild_s.%I', name), ', ' ORDER BY n),
                  source)
      FROM unnest(names) WITH ORDINALITY u(name, n)
$$;

-- The counterpart of a partition in a copy that is divided as the source; of the source itself: the copy.
CREATE FUNCTION hologres.child_copy_name(id text, rel oid) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    SET quote_all_identifiers = off
AS $$
    SELECT format('%I.%I', n.nspname, hologres.new_table_name(id, rel))
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = rel
$$;

-- CREATE TABLE of such a counterpart. options: of the task; space: of the task, else as the partition's.
CREATE FUNCTION hologres.child_statement(id text, child oid, parent oid, bound text, options text, space text)
    RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    SET quote_all_identifiers = off
AS $$
    SELECT concat_ws(' ', 'CREATE', CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED' END, 'TABLE',
               hologres.child_copy_name(id, child), 'PARTITION OF', hologres.child_copy_name(id, parent), bound,
               'PARTITION BY ' || pg_get_partkeydef(child),
               CASE c.relkind WHEN 'r' THEN nullif('USING ' || quote_ident(m.amname), 'USING heap') END,
               CASE c.relkind WHEN 'r' THEN options END,
               'TABLESPACE ' || quote_ident(coalesce(space, s.spcname)))
           || format('; SELECT hologres.strip_grants(''TABLE'', %L)', hologres.child_copy_name(id, child))
      FROM pg_class c LEFT JOIN pg_am m ON m.oid = c.relam LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
     WHERE c.oid = child
$$;

-- By the owner: what makes the copy and the log follow the partitions as they are now. Before the first
-- slice is cut nothing has to be logged.
CREATE FUNCTION hologres.children_statements(id text) RETURNS SETOF text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    SET quote_all_identifiers = off
AS $$
DECLARE
    r hologres.rebuild := (SELECT r FROM hologres.rebuild r WHERE r.query_id = id);
    actions jsonb := (SELECT params -> 'actions' FROM pgveneer.task WHERE task_id = id);
    logs boolean := r.capture = 'key' AND (SELECT coalesce(status, '') = 'done' FROM hologres.rebuild_step
                                            WHERE query_id = id AND step = 'get_src_table_snapshot');
    tree boolean := hologres.partition_list(id) IS NULL;
    names text[];
    kept text[];
    same text;
    space text;
    x record;
    fallback oid; -- DEFAULT partition of the copy: it may hold rows of a partition that came
BEGIN
    SELECT array_agg(name ORDER BY n), array_agg(k.kept ORDER BY n),
           string_agg(format('tmp_rebuild_o.%I %s tmp_rebuild_s.%I', name, operator, k.kept), ' AND ')
      INTO names, kept, same FROM hologres.key_columns(r.relid, actions) k;
    IF tree THEN
        FOR x IN SELECT hologres.qualified_name(g.copy) AS name, c.relkind FROM hologres.children_gone(id) g
                   JOIN pg_class c ON c.oid = g.copy ORDER BY c.relkind DESC LOOP
            IF logs AND x.relkind = 'r' THEN
                RETURN NEXT hologres.log_keys(id, kept, x.name || ' AS tmp_rebuild_s');
            END IF;
            RETURN NEXT format('DROP TABLE IF EXISTS %s', x.name);
        END LOOP;
        space := (SELECT spcname FROM pg_class c JOIN pg_tablespace s ON s.oid = c.reltablespace
                   WHERE c.oid = r.new_relid AND c.reltablespace <> (SELECT reltablespace FROM pg_class
                                                                      WHERE oid = r.relid));
        FOR x IN SELECT * FROM hologres.children_came(id) a ORDER BY a.level, a.relid LOOP
            fallback := (SELECT nullif(partdefid, 0) FROM pg_partitioned_table
                          WHERE partrelid = to_regclass(hologres.child_copy_name(id, x.parent)));
            IF logs AND fallback IS NOT NULL AND NOT EXISTS (SELECT FROM hologres.children_gone(id)
                                                              WHERE copy = fallback) THEN
                RETURN NEXT hologres.log_keys(id, kept, hologres.qualified_name(fallback) || ' AS tmp_rebuild_s');
                RETURN NEXT 'TRUNCATE ' || hologres.qualified_name(fallback);
            END IF;
            RETURN NEXT hologres.child_statement(id, x.relid, x.parent, x.bound, hologres.option_list(r.plan),
                                                 space);
        END LOOP;
    ELSIF logs THEN
        RETURN NEXT hologres.log_keys(id, kept, format('%s AS tmp_rebuild_s WHERE NOT EXISTS (SELECT FROM %s '
            'AS tmp_rebuild_o WHERE %s)', hologres.qualified_name(r.new_relid), hologres.qualified_name(r.relid), same));
    END IF;
    IF logs THEN
        RETURN QUERY SELECT hologres.log_keys(id, names, format('ONLY %s AS tmp_rebuild_s',
                         hologres.qualified_name(a.relid)))
                       FROM hologres.children_came(id) a WHERE a.kind = 'r';
    END IF;
END $$;

CREATE FUNCTION hologres.children_body(id text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$ SELECT hologres.as_body(ARRAY(SELECT s FROM hologres.children_statements(id) s)) $$;

-- In the same transaction: they are known from here on. What is shown of it: the number of those that came.
CREATE FUNCTION hologres.take_children(id text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    came bigint := (SELECT count(*) FROM hologres.children_came(id));
    tree boolean := hologres.partition_list(id) IS NULL;
BEGIN
    DELETE FROM hologres.rebuild_slice WHERE query_id = id
       AND relid IN (SELECT relid FROM hologres.children_gone(id));
    DELETE FROM hologres.rebuild_child WHERE query_id = id
       AND relid IN (SELECT relid FROM hologres.children_gone(id));
    INSERT INTO hologres.rebuild_child (query_id, relid, mark, bound, copy)
    SELECT id, relid, mark, bound, CASE WHEN tree THEN to_regclass(hologres.child_copy_name(id, relid)) END
      FROM hologres.children_came(id);
    UPDATE hologres.rebuild_step s
       SET status = 'done', attempt = attempt + (step NOT LIKE 'check%')::integer, pid = pg_backend_pid(), end_time = clock_timestamp(),
           start_time = coalesce(start_time, clock_timestamp()),
           progress = CASE WHEN step LIKE 'check%' THEN '1/1' ELSE format('%1$s/%1$s', came +
                      CASE progress WHEN '-' THEN 0 ELSE split_part(progress, '/', 1)::bigint END) END
     WHERE query_id = id AND step LIKE '%\_additional\_child\_table' AND (came > 0 OR step LIKE 'check%')
       AND EXISTS (SELECT FROM hologres.rebuild_step WHERE query_id = id AND status = 'done'
                      AND step = 'get_src_table_snapshot');
END $$;

REVOKE ALL ON FUNCTION hologres.attached_children(text), hologres.children_came(text),
    hologres.children_gone(text), hologres.children_known(text), hologres.is_followed(text),
    hologres.hold_statements(text), hologres.check_children(text), hologres.truncate_statements(text),
    hologres.children_statements(text), hologres.children_body(text), hologres.take_children(text) FROM PUBLIC;
