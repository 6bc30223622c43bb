-- revision 2
-- Rebuilds of tables that are partitioned already: what is checked of their partitions, and what the swap does with
-- them. spec/rebuild.md section 1.2; spec/decisions.md, "REBUILD": children take the parent's properties.
--
-- In a copy that is divided as the source each partition has its counterpart, which takes its name, comment,
-- grants and replica identity. Elsewhere partitions are named after their values, or as the one with the same bound.

-- What hangs on a partition alone and would be lost. way: hologres.partition_way
CREATE OR REPLACE FUNCTION hologres.child_problems(rel oid, actions jsonb) RETURNS SETOF hologres.problem
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    SET quote_all_identifiers = off
AS $$
DECLARE
    owner oid := (SELECT relowner FROM pg_class WHERE oid = rel);
    tree boolean := hologres.partition_way(rel, actions) = 'tree';
    found record;
BEGIN
    FOR found IN
        SELECT c.*, hologres.qualified_name(c.oid) AS name FROM pg_partition_tree(rel) t
          JOIN pg_class c ON c.oid = t.relid WHERE t.level > 0 ORDER BY t.level, c.oid LOOP
        IF found.relkind NOT IN ('r', 'p') THEN
            RETURN NEXT ('0A000', format('partition %s is a foreign table', found.name), '')::hologres.problem;
        ELSIF found.relowner <> owner THEN
            RETURN NEXT ('0A000', format('partition %s has another owner', found.name),
                         'ALTER TABLE ... OWNER TO allows the rebuild.')::hologres.problem;
        ELSIF NOT has_schema_privilege(owner, found.relnamespace, 'CREATE') THEN
            RETURN NEXT ('42501', format('role "%s", which owns the table, may not create tables in the schema '
                         'of partition %s', pg_get_userbyid(owner), found.name),
                         'GRANT CREATE ON SCHEMA to it.')::hologres.problem;
        ELSIF found.relrowsecurity OR found.relforcerowsecurity THEN
            RETURN NEXT ('0A000', format('partition %s has row security of its own', found.name),
                         'The rebuild would lose it.')::hologres.problem;
        END IF;
    END LOOP;
    FOR found IN
        SELECT DISTINCT what, hologres.qualified_name(t.relid) AS name FROM pg_partition_tree(rel) t,
               LATERAL (
            SELECT format('trigger "%s"', g.tgname) FROM pg_trigger g
             WHERE g.tgrelid = t.relid AND NOT g.tgisinternal AND g.tgparentid = 0
               AND g.tgname NOT LIKE 'tmp\_rebuild\_%' AND g.tgname NOT LIKE 'hologres\_readonly%'
            UNION ALL
            SELECT format('rule "%s"', w.rulename) FROM pg_rewrite w WHERE w.ev_class = t.relid
            UNION ALL
            SELECT format('policy "%s"', p.polname) FROM pg_policy p WHERE p.polrelid = t.relid
            UNION ALL
            SELECT format('constraint "%s"', k.conname) FROM pg_constraint k
             WHERE k.conrelid = t.relid AND k.conparentid = 0 AND k.contype IN ('c', 'f', 'p', 'u', 'x')
               AND (k.contype <> 'c' OR k.coninhcount = 0)
            UNION ALL
            SELECT format('NOT NULL of column "%s"', a.attname) FROM pg_attribute a
              JOIN pg_attribute p ON p.attrelid = rel AND p.attname = a.attname
             WHERE a.attrelid = t.relid AND a.attnum > 0 AND a.attnotnull AND NOT p.attnotnull
            UNION ALL
            SELECT format('unique index %s', hologres.qualified_name(x.indexrelid)) FROM pg_index x
             WHERE x.indrelid = t.relid AND x.indisunique
               AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = x.indexrelid)
               AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = x.indexrelid AND conrelid = t.relid)
            UNION ALL
            SELECT format('foreign key "%s" of %s', k.conname, hologres.qualified_name(k.conrelid))
              FROM pg_constraint k WHERE k.confrelid = t.relid AND k.contype = 'f' AND k.conparentid = 0
            UNION ALL
            SELECT format('publication "%s"', p.pubname) FROM pg_publication_rel u
              JOIN pg_publication p ON p.oid = u.prpubid WHERE u.prrelid = t.relid AND NOT tree
            UNION ALL
            SELECT 'a subscription' FROM pg_subscription_rel WHERE srrelid = t.relid
            UNION ALL
            SELECT coalesce((SELECT 'view ' || hologres.qualified_name(w.ev_class) FROM pg_rewrite w
                              WHERE w.oid = d.objid AND w.rulename = '_RETURN'),
                            pg_describe_object(d.classid, d.objid, 0))
              FROM pg_depend d JOIN pg_class c ON c.oid = t.relid
             WHERE d.deptype IN ('n', 'a')
               AND (d.refclassid = 'pg_class'::regclass AND d.refobjid = t.relid
                    AND (d.classid = 'pg_proc'::regclass OR d.classid = 'pg_rewrite'::regclass AND EXISTS (
                         SELECT FROM pg_rewrite w WHERE w.oid = d.objid AND w.ev_class <> t.relid))
                    OR d.refclassid = 'pg_type'::regclass AND d.classid <> 'pg_type'::regclass
                    AND d.refobjid IN (c.reltype, (SELECT typarray FROM pg_type WHERE oid = c.reltype)))
            ) AS own(what) WHERE t.level > 0 ORDER BY 2, 1 LOOP
        RETURN NEXT ('0A000', format('%s is of partition %s alone and cannot be carried over', found.what,
                     found.name), 'Drop it, or make it for the whole table.')::hologres.problem;
    END LOOP;
END $$;

-- What partitions have alone and lose: children take the parent's properties.
CREATE OR REPLACE FUNCTION hologres.tell_children(rel oid) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    SET quote_all_identifiers = off
AS $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT hologres.qualified_name(t.relid) AS name, string_agg(what, ', ' ORDER BY what) AS list
          FROM pg_partition_tree(rel) t JOIN pg_class c ON c.oid = t.relid, LATERAL (
            SELECT o FROM unnest(c.reloptions || ARRAY(
                       SELECT 'toast.' || x FROM pg_class z, unnest(z.reloptions) x WHERE z.oid = c.reltoastrelid)) o
             WHERE o <> ALL (coalesce(hologres.options_of(rel), '{}'))
            UNION ALL
            SELECT 'property ' || p.key FROM hologres.table_property p WHERE p.relid = t.relid
            UNION ALL
            SELECT format('default of column "%s"', a.attname) FROM pg_attribute a
              LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
              JOIN pg_attribute b ON b.attrelid = rel AND b.attname = a.attname
              LEFT JOIN pg_attrdef e ON e.adrelid = b.attrelid AND e.adnum = b.attnum
             WHERE a.attrelid = t.relid AND a.attnum > 0
               AND pg_get_expr(d.adbin, d.adrelid) IS DISTINCT FROM pg_get_expr(e.adbin, e.adrelid)
            UNION ALL
            SELECT 'index ' || i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
             WHERE x.indrelid = t.relid AND NOT x.indisunique
               AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = x.indexrelid)
            UNION ALL
            SELECT 'tablespace of index ' || i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
              JOIN pg_inherits h ON h.inhrelid = i.oid JOIN pg_class p ON p.oid = h.inhparent
             WHERE x.indrelid = t.relid AND i.reltablespace <> p.reltablespace
            UNION ALL
            SELECT 'statistics ' || stxname FROM pg_statistic_ext WHERE stxrelid = t.relid) AS own(what)
         WHERE t.level > 0 GROUP BY t.relid ORDER BY 1 LOOP
        RAISE NOTICE 'partition % will not keep what it has alone: %', found.name, found.list;
    END LOOP;
END $$;

-- Names -----------------------------------------------------------------------------------------------

-- A free name near base, in a schema where these objects leave their names and these names are taken.
CREATE OR REPLACE FUNCTION hologres.next_name(schema oid, base text, leaving oid[], taken text[]) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    name text := hologres.cut(base, 63);
    n integer := 0;
BEGIN
    WHILE schema || '.' || name = ANY (taken) OR EXISTS (
          SELECT FROM pg_class c WHERE c.relnamespace = schema AND c.relname = name AND c.oid <> ALL (leaving)) LOOP
        n := n + 1;
        name := hologres.cut(base, 63 - length(n::text)) || n;
    END LOOP;
    RETURN name;
END $$;

-- The partition of the source whose place one of the copy takes.
CREATE OR REPLACE FUNCTION hologres.find_counterpart(id text, child oid) RETURNS oid
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT coalesce((SELECT k.relid FROM hologres.rebuild_child k WHERE k.query_id = id AND k.copy = child), (
           SELECT o.oid FROM hologres.rebuild r JOIN pg_inherits i ON i.inhparent = r.relid
             JOIN pg_class o ON o.oid = i.inhrelid
             JOIN pg_class c ON c.oid = child AND c.relkind = o.relkind
             JOIN pg_inherits n ON n.inhrelid = child AND n.inhparent = r.new_relid
            WHERE r.query_id = id AND pg_get_partkeydef(r.relid) = pg_get_partkeydef(r.new_relid)
              AND pg_get_expr(c.relpartbound, c.oid) = pg_get_expr(o.relpartbound, o.oid)))
$$;

-- The index of a partition of the source in whose place one of the copy is.
CREATE OR REPLACE FUNCTION hologres.find_index_name(plan jsonb, counterpart oid, index oid) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT o.relname::text FROM jsonb_array_elements(plan -> 'indexes') p
      JOIN pg_class root ON root.oid = pg_partition_root(index) AND root.relname = p ->> 'tmp_name'
      JOIN pg_index x ON x.indrelid = counterpart AND p ->> 'source' ~ '^\d+$'
                     AND pg_partition_root(x.indexrelid)::oid = (p ->> 'source')::oid
      JOIN pg_class o ON o.oid = x.indexrelid LIMIT 1
$$;

-- Every partition of the copy and its indexes, with the names that they get.
CREATE OR REPLACE FUNCTION hologres.child_names(id text)
    RETURNS TABLE (kind text, relid oid, schema text, tmp text, name text, counterpart oid)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    SET quote_all_identifiers = off
AS $$
DECLARE
    r hologres.rebuild := (SELECT r FROM hologres.rebuild r WHERE r.query_id = id);
    c pg_class := (SELECT c FROM pg_class c WHERE c.oid = r.relid);
    leaving oid[];
    taken text[] := '{}';
    child record;
    index record;
BEGIN
    leaving := ARRAY(
        SELECT t.relid::oid FROM unnest(ARRAY[r.relid, r.new_relid]) u(o), pg_partition_tree(o) t WHERE t.level > 0
        UNION ALL
        SELECT x.indexrelid FROM unnest(ARRAY[r.relid, r.new_relid]) u(o), pg_partition_tree(o) t
          JOIN pg_index x ON x.indrelid = t.relid WHERE t.level > 0);
    FOR child IN SELECT n.oid, n.relname, n.relnamespace, s.nspname, hologres.find_counterpart(id, n.oid) AS old
                   FROM pg_partition_tree(r.new_relid) t JOIN pg_class n ON n.oid = t.relid
                   JOIN pg_namespace s ON s.oid = n.relnamespace WHERE t.level > 0
                  ORDER BY (hologres.find_counterpart(id, n.oid) IS NULL), t.level, n.relname LOOP
        name := hologres.next_name(child.relnamespace, coalesce((SELECT relname FROM pg_class WHERE oid = child.old),
            CASE c.relkind WHEN 'r' THEN child.relname
            ELSE hologres.cut(hologres.cut(c.relname, 40)
                     || substr(child.relname, length('tmp_rebuild_new_' || id) + 1), 58) END), leaving, taken);
        taken := taken || (child.relnamespace || '.' || name);
        kind := 'TABLE';
        relid := child.oid;
        schema := quote_ident(child.nspname);
        tmp := child.relname;
        counterpart := child.old;
        RETURN NEXT;
        FOR index IN SELECT i.oid, i.relname, x.indisprimary, name AS child_name,
                            hologres.find_index_name(r.plan, child.old, i.oid) AS old_name,
                            (SELECT string_agg(a.attname, '_' ORDER BY a.attnum) FROM pg_attribute a
                              WHERE a.attrelid = i.oid) AS columns
                       FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = child.oid
                      ORDER BY (hologres.find_index_name(r.plan, child.old, i.oid) IS NULL), i.oid LOOP
            CONTINUE WHEN index.relname NOT LIKE 'tmp\_rebuild\_%' OR NOT EXISTS (
                SELECT FROM jsonb_array_elements(r.plan -> 'indexes') p JOIN pg_class root
                    ON root.oid = pg_partition_root(index.oid) AND root.relname = p ->> 'tmp_name');
            name := hologres.next_name(child.relnamespace, coalesce(index.old_name, hologres.cut(
                hologres.cut(index.child_name, 30) || CASE WHEN index.indisprimary THEN ''
                ELSE '_' || index.columns END, 55) || CASE WHEN index.indisprimary THEN '_pkey' ELSE '_idx' END),
                leaving, taken);
            taken := taken || (child.relnamespace || '.' || name);
            kind := 'INDEX';
            relid := index.oid;
            tmp := index.relname;
            counterpart := NULL;
            RETURN NEXT;
        END LOOP;
    END LOOP;
END $$;

-- The swap ----------------------------------------------------------------------------------------------

-- The partitions of the former table give their names up.
CREATE OR REPLACE FUNCTION hologres.old_children_statements(id text) RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    SET quote_all_identifiers = off
AS $$
    SELECT format('ALTER %s %I.%I RENAME TO %I', x.kind, n.nspname, x.relname,
                  hologres.cut('tmp_rebuild_old_' || id || '_' || x.oid || '_' || x.relname, 63))
      FROM hologres.rebuild r, pg_partition_tree(r.relid) t, LATERAL (
           SELECT 'TABLE' AS kind, c.oid, c.relname, c.relnamespace FROM pg_class c WHERE c.oid = t.relid
           UNION ALL
           SELECT 'INDEX', i.oid, i.relname, i.relnamespace FROM pg_index q
             JOIN pg_class i ON i.oid = q.indexrelid WHERE q.indrelid = t.relid) AS x
      JOIN pg_namespace n ON n.oid = x.relnamespace
     WHERE r.query_id = id AND t.level > 0
$$;

-- Those of a former table that is kept: read-only, and no triggers of the rebuild.
CREATE OR REPLACE FUNCTION hologres.kept_children_statements(id text) RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    SET quote_all_identifiers = off
AS $$
    SELECT format(s, n.nspname, hologres.cut('tmp_rebuild_old_' || id || '_' || c.oid || '_' || c.relname, 63), id)
      FROM hologres.rebuild r, pg_partition_tree(r.relid) t JOIN pg_class c ON c.oid = t.relid
      JOIN pg_namespace n ON n.oid = c.relnamespace,
           unnest(ARRAY[
               'CREATE TRIGGER hologres_readonly BEFORE TRUNCATE ON %1$I.%2$I FOR EACH STATEMENT '
               'EXECUTE FUNCTION hologres.refuse_write(%3$L)',
               'ALTER TABLE ONLY %1$I.%2$I ENABLE ALWAYS TRIGGER hologres_readonly']) WITH ORDINALITY u(s, o)
     WHERE r.query_id = id AND t.level > 0 AND NOT EXISTS (
           SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND g.tgname = 'hologres_readonly')
     ORDER BY c.oid, o
$$;

-- The partitions of the copy become those of the table.
CREATE OR REPLACE FUNCTION hologres.new_children_statements(id text) RETURNS TABLE (role text, statement text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    SET quote_all_identifiers = off
AS $$
DECLARE
    r hologres.rebuild := (SELECT r FROM hologres.rebuild r WHERE r.query_id = id);
    owner oid := (SELECT relowner FROM pg_class WHERE oid = r.relid);
    is_marked boolean := EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = r.relid
                                    AND g.tgname = 'hologres_readonly' AND hologres.is_carried(g, id));
    x record;
    here text;
    identities text[] := '{}'; -- they need the names of indexes
BEGIN
    FOR x IN SELECT y.*, o.relacl, n.relacl AS has_acl, o.relreplident, n.relkind FROM hologres.child_names(id) y
               JOIN pg_class n ON n.oid = y.relid LEFT JOIN pg_class o ON o.oid = y.counterpart LOOP
        role := pg_get_userbyid(owner);
        here := format('%s.%I', x.schema, x.name);
        IF x.tmp <> x.name THEN
            statement := format('ALTER %s %s.%I RENAME TO %I', x.kind, x.schema, x.tmp, x.name);
            RETURN NEXT;
        END IF;
        CONTINUE WHEN x.kind = 'INDEX';
        statement := format('COMMENT ON TABLE %s IS %L', here, obj_description(x.counterpart, 'pg_class'));
        IF obj_description(x.relid, 'pg_class') IS DISTINCT FROM obj_description(x.counterpart, 'pg_class') THEN
            RETURN NEXT;
        END IF;
        IF x.counterpart IS NOT NULL THEN
            RETURN QUERY SELECT g.role, g.statement FROM hologres.grant_statements('TABLE', here, owner,
                             x.relacl, x.has_acl) g;
            RETURN QUERY SELECT g.role, g.statement FROM pg_attribute a, hologres.grant_statements('TABLE', here,
                             owner, a.attacl, NULL, format(' (%I)', a.attname)) g
              WHERE a.attrelid = x.counterpart AND a.attnum > 0 AND a.attacl IS NOT NULL AND NOT a.attisdropped;
        END IF;
        role := pg_get_userbyid(owner);
        identities := identities || hologres.child_identity(id, here, x.relid, x.counterpart);
        RETURN QUERY SELECT role, s FROM unnest(hologres.guard_statements(here)) s;
        IF is_marked THEN
            statement := format('CREATE TRIGGER hologres_readonly BEFORE TRUNCATE ON %s FOR EACH STATEMENT '
                                'EXECUTE FUNCTION hologres.refuse_write('''')', here);
            RETURN NEXT;
            statement := format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER hologres_readonly', here);
            RETURN NEXT;
        END IF;
    END LOOP;
    RETURN QUERY SELECT pg_get_userbyid(owner)::text, s FROM unnest(identities) s WHERE s IS NOT NULL;
END $$;

-- REPLICA IDENTITY of a partition: its counterpart's, else the table's. NULL: the default.
CREATE OR REPLACE FUNCTION hologres.child_identity(id text, here text, child oid, counterpart oid) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    SET quote_all_identifiers = off
AS $$
    SELECT CASE o.relreplident WHEN 'f' THEN format('ALTER TABLE %s REPLICA IDENTITY FULL', here)
           WHEN 'n' THEN format('ALTER TABLE %s REPLICA IDENTITY NOTHING', here)
           WHEN 'i' THEN (
               SELECT format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', here, y.name)
                 FROM pg_index q JOIN jsonb_array_elements(r.plan -> 'indexes') p
                      ON p ->> 'source' = pg_partition_root(q.indexrelid)::oid::text
                      OR p ->> 'source' = q.indexrelid::text
                 JOIN pg_class i ON i.relname = p ->> 'tmp_name'
                 JOIN pg_index m ON m.indrelid = child AND pg_partition_root(m.indexrelid)::oid = i.oid
                 JOIN hologres.child_names(id) y ON y.relid = m.indexrelid
                WHERE q.indrelid = o.oid AND q.indisreplident) END
      FROM hologres.rebuild r JOIN pg_class o ON o.oid = coalesce(counterpart, r.relid) WHERE r.query_id = id
$$;

CREATE OR REPLACE FUNCTION hologres.becomes_logical(id text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT hologres.is_logical(r.relid)
        OR EXISTS (SELECT FROM pgveneer.task t, jsonb_array_elements(t.params -> 'actions') a
                    WHERE t.task_id = id AND (a ->> 'logical')::boolean)
      FROM hologres.rebuild r WHERE r.query_id = id
$$;

-- Against snapshots older than the swap, which is the transaction at hand.
CREATE OR REPLACE FUNCTION hologres.guard_statements(target text) RETURNS text[]
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT ARRAY[format('CREATE TRIGGER tmp_rebuild_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON '
                        '%s FOR EACH STATEMENT EXECUTE FUNCTION hologres.refuse_old_snapshot(%L)', target,
                        pg_current_xact_id()),
                 format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER tmp_rebuild_guard', target)]
$$;

-- DEFAULT partitions on each level of a table that is LOGICAL from now on, where it has none.
CREATE OR REPLACE FUNCTION hologres.default_statements(id text) RETURNS SETOF text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    SET quote_all_identifiers = off
AS $$
DECLARE
    r hologres.rebuild := (SELECT r FROM hologres.rebuild r WHERE r.query_id = id);
    leaving oid[] := ARRAY(SELECT t.relid::oid FROM pg_partition_tree(r.relid) t WHERE t.level > 0);
    taken text[];
    x record;
    name text;
BEGIN
    IF NOT hologres.becomes_logical(id) THEN
        RETURN;
    END IF;
    taken := ARRAY(SELECT c.relnamespace || '.' || y.name FROM hologres.child_names(id) y
                     JOIN pg_class c ON c.oid = y.relid);
    FOR x IN SELECT coalesce(y.schema || '.' || quote_ident(y.name), hologres.qualified_name(r.relid)) AS parent,
                    coalesce(y.name, (SELECT relname FROM pg_class WHERE oid = r.relid)) AS base, n.relnamespace
               FROM pg_partition_tree(r.new_relid) t JOIN pg_class n ON n.oid = t.relid
               JOIN pg_partitioned_table p ON p.partrelid = n.oid AND p.partdefid = 0
               LEFT JOIN hologres.child_names(id) y ON y.relid = n.oid ORDER BY t.level, n.relname LOOP
        name := hologres.next_name(x.relnamespace, hologres.cut(x.base, 50) || '_default', leaving, taken);
        taken := taken || (x.relnamespace || '.' || name);
        RETURN NEXT format('CREATE TABLE %s.%I PARTITION OF %s DEFAULT %s', (SELECT quote_ident(nspname)
            FROM pg_namespace WHERE oid = x.relnamespace), name, x.parent, hologres.option_list(r.plan));
        RETURN NEXT format('SELECT hologres.strip_grants(''TABLE'', %L)', format('%I.%I', (SELECT nspname
            FROM pg_namespace WHERE oid = x.relnamespace), name));
        RETURN QUERY SELECT unnest(hologres.guard_statements(format('%s.%I', (SELECT quote_ident(nspname)
            FROM pg_namespace WHERE oid = x.relnamespace), name)));
    END LOOP;
END $$;

-- The guard goes when the last old snapshot has gone.
CREATE OR REPLACE FUNCTION hologres.unguard_statements(id text) RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    SET quote_all_identifiers = off
AS $$
    SELECT format('DROP TRIGGER tmp_rebuild_guard ON %s', hologres.qualified_name(g.tgrelid))
      FROM hologres.rebuild r JOIN pg_trigger g ON g.tgname = 'tmp_rebuild_guard' AND (g.tgrelid = r.relid
           OR g.tgrelid IN (SELECT relid FROM pg_partition_tree(r.relid)))
     WHERE r.query_id = id
$$;

REVOKE ALL ON FUNCTION hologres.find_counterpart(text, oid), hologres.child_names(text),
    hologres.old_children_statements(text), hologres.kept_children_statements(text),
    hologres.new_children_statements(text), hologres.default_statements(text),
    hologres.child_identity(text, text, oid, oid), hologres.becomes_logical(text),
    hologres.child_trigger_statements(text), hologres.unguard_statements(text) FROM PUBLIC;
