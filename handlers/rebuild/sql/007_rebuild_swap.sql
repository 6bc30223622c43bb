-- revision 2
-- The swap of a copied table: what may hang on a table, and the statements that carry it over.
-- spec/rebuild.md sections 4.2 (step 5) and 4.3.
--
-- Everything is read from the catalogs at each attempt and run under the locks that it needs; before the
-- commit versions_of says whether it is still the same. Each statement has the role that it runs as.

-- What depends on the table and is not part of it (010_rebuild_dependents.sql).
-- kind: replaced view, new view, new function, body, rule, policy; own rule, own policy, own trigger: of the table
-- itself, in the way of something that is dropped; obstacle.
-- depth: what is made anew comes after all that it needs.
DO $$ BEGIN
    IF pg_catalog.to_regtype('hologres.dependent') IS NULL THEN
        CREATE TYPE hologres.dependent AS (class oid, id oid, kind text, depth integer, owner oid, what text);
    END IF;
END $$;

-- Reasons against copying the rows.
CREATE OR REPLACE FUNCTION hologres.copy_problems(rel oid, actions jsonb) RETURNS SETOF hologres.problem
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    c pg_class := (SELECT c FROM pg_class c WHERE c.oid = rel);
    service oid := (SELECT nspowner FROM pg_namespace WHERE nspname = 'pgveneer');
    may text := CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET'
                     ELSE 'MEMBER' END;
    parts text[] := hologres.partition_columns(rel, actions);
    found record;
BEGIN
    RETURN QUERY SELECT p.* FROM hologres.child_problems(rel, actions) p;
    RETURN QUERY SELECT p.* FROM hologres.materialized_views(rel, NULL) p;
    IF hologres.partition_way(rel, actions) = 'values' THEN
        FOR found IN SELECT p AS name FROM unnest(parts) p
                      LEFT JOIN pg_attribute a ON a.attrelid = rel AND a.attname = p AND a.attnum > 0
                     WHERE a.attnum IS NULL OR a.attgenerated <> '' LOOP
            RETURN NEXT ('0A000', format('column "%s" cannot be a partition key: it is generated or added by '
                         'the same statement', found.name), '')::hologres.problem;
        END LOOP;
    END IF;
    FOR found IN SELECT k.conname FROM pg_constraint k JOIN pg_class o ON o.oid = k.conrelid
                  WHERE k.contype = 'f' AND k.conparentid = 0 AND NOT k.convalidated
                    AND current_setting('server_version_num')::integer < 180000
                    AND (k.conrelid = rel AND hologres.partition_way(rel, actions) IS NOT NULL
                         OR k.confrelid = rel AND o.relkind = 'p') LOOP
        RETURN NEXT ('0A000', format('foreign key "%s" is not valid, as one of a partitioned table has to be',
                     found.conname), 'Drop it or VALIDATE it first.')::hologres.problem;
    END LOOP;
    FOR found IN SELECT k.conname FROM pg_constraint k
                  WHERE k.conrelid = rel AND k.contype IN ('c', 'n') AND k.connoinherit AND c.relkind = 'r'
                    AND hologres.partition_way(rel, actions) IS NOT NULL LOOP
        RETURN NEXT ('42P16', format('constraint "%s" is NO INHERIT, as none of a partitioned table can be',
                     found.conname), 'Drop it first.')::hologres.problem;
    END LOOP;
    IF NOT has_schema_privilege(c.relowner, c.relnamespace, 'CREATE') THEN
        RETURN NEXT ('42501', format('role "%s", which owns the table, may not create tables in its schema',
            pg_get_userbyid(c.relowner)), 'GRANT CREATE ON SCHEMA to it.')::hologres.problem;
    END IF;
    IF hologres.is_row_security_forced(rel) AND NOT (SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE oid = service) THEN
        RETURN NEXT ('0A000', 'row security is forced on the owner of the table, too',
                     format('ALTER TABLE ... NO FORCE ROW LEVEL SECURITY allows the rebuild, and so does ALTER ROLE %I BYPASSRLS.',
                            pg_get_userbyid(service)))::hologres.problem;
    END IF;
    FOR found IN SELECT p.pubname FROM pg_publication p, pg_get_publication_tables(p.pubname) t
                  WHERE t.relid IN (SELECT rel UNION ALL SELECT relid FROM pg_partition_tree(rel))
                    AND NOT EXISTS (SELECT FROM pg_publication_rel x WHERE x.prpubid = p.oid AND x.prrelid IN (
                        SELECT rel UNION ALL SELECT relid FROM pg_partition_tree(rel))) LOOP
        RETURN NEXT ('0A000', format('publication "%s" would publish the copy, too', found.pubname),
                     'It publishes all tables, or all of a schema; one FOR TABLE can stay.')::hologres.problem;
    END LOOP;
    IF EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid = rel) THEN
        RETURN NEXT ('0A000', 'a subscription writes to the table', '')::hologres.problem;
    END IF;
    FOR found IN SELECT a ->> 'column' AS name FROM jsonb_array_elements(actions) a
                  WHERE a ->> 'do' IN ('add', 'type') GROUP BY 1 HAVING count(*) > 1 LOOP
        RETURN NEXT ('0A000', format('column "%s" is changed twice', found.name),
                     'Write one action.')::hologres.problem;
    END LOOP;
    RETURN QUERY SELECT * FROM hologres.dependent_problems(rel, actions, false);
    FOR found IN
        SELECT n.relowner AS owner, format('table %s', hologres.qualified_name(n.oid)) AS what
          FROM pg_constraint k JOIN pg_class n ON n.oid = k.conrelid
         WHERE k.confrelid = rel AND k.contype = 'f' AND k.conrelid <> rel
        UNION SELECT p.pubowner, format('publication %I', p.pubname)
          FROM pg_publication p JOIN pg_publication_rel x ON x.prpubid = p.oid
         WHERE x.prrelid = rel LOOP
        IF NOT pg_has_role(service, found.owner, may) THEN
            RETURN NEXT ('42501', format('pgveneer''s service role "%s" is not a member of role "%s", '
                'which owns %s', pg_get_userbyid(service), pg_get_userbyid(found.owner), found.what),
                format('An administrator has to GRANT %I TO %I.', pg_get_userbyid(found.owner),
                       pg_get_userbyid(service)))::hologres.problem;
        END IF;
    END LOOP;
END $$;

-- Statements that carry privileges of an object over: kind and name as GRANT takes them, `had` what the
-- new object has so far.
CREATE OR REPLACE FUNCTION hologres.grant_statements(kind text, name text, owner oid, acl aclitem[], had aclitem[],
                                                     columns text DEFAULT '')
    RETURNS TABLE (role text, statement text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
    SELECT pg_get_userbyid(owner)::text, format('REVOKE ALL%s ON %s %s FROM %s', columns, kind, name,
               CASE g WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g)) END)
      FROM (SELECT DISTINCT grantee AS g FROM aclexplode(had)
            UNION SELECT owner WHERE acl IS NOT NULL AND columns = '') AS x
     WHERE acl IS NOT NULL OR had IS NOT NULL
    UNION ALL
    SELECT * FROM (
        SELECT pg_get_userbyid(CASE WHEN pg_has_role(a.grantor, 'MEMBER') THEN a.grantor ELSE owner END)::text,
               format('GRANT %s%s ON %s %s TO %s%s', string_agg(a.privilege_type || columns, ', '
                   ORDER BY a.n), '', kind, name,
                   CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                   CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
          FROM aclexplode(acl) WITH ORDINALITY a(grantor, grantee, privilege_type, is_grantable, n)
         GROUP BY a.grantor, a.grantee, a.is_grantable
         ORDER BY (a.grantor <> owner), min(a.n)) AS grants
    UNION ALL -- no grants at all is not the same as the default
    SELECT pg_get_userbyid(owner)::text, format('GRANT ALL ON %s %s TO %I', kind, name, pg_get_userbyid(owner))
     WHERE acl IS NULL AND had IS NOT NULL AND columns = ''
$$;

-- The columns whose type the rebuild changes, as far as is known now.
CREATE OR REPLACE FUNCTION hologres.task_changes(id text) RETURNS text[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT hologres.changed_columns(r.relid, t.params -> 'actions', r.new_relid)
              FROM hologres.rebuild r JOIN pgveneer.task t ON t.task_id = r.query_id WHERE r.query_id = id);
END $$;

-- Locks of the swap, the views first, those above others first of all: who reads a view locks it before
-- what it reads. Each as its own statement, so that none waits long.
CREATE OR REPLACE FUNCTION hologres.lock_statements(id text) RETURNS SETOF text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET quote_all_identifiers = off
AS $$
DECLARE
    rel oid := (SELECT relid FROM hologres.rebuild WHERE query_id = id);
    dependents hologres.dependent[] := ARRAY(SELECT d FROM hologres.dependents_of(rel, hologres.task_changes(id)) d);
BEGIN
    RETURN QUERY SELECT format('ALTER VIEW %s OWNER TO %I', hologres.qualified_name(d.id), pg_get_userbyid(d.owner))
      FROM unnest(dependents) d WHERE d.kind LIKE '% view' ORDER BY d.depth DESC, d.id DESC;
    RETURN NEXT format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', hologres.qualified_name(rel));
    RETURN QUERY SELECT DISTINCT format('LOCK TABLE %s %s IN ACCESS EXCLUSIVE MODE', CASE WHEN EXISTS (
                     SELECT FROM pg_class WHERE oid = k.other AND relkind = 'p') THEN '' ELSE 'ONLY' END,
                     hologres.qualified_name(k.other))
      FROM (SELECT confrelid AS other FROM pg_constraint WHERE conrelid = rel AND contype = 'f'
            UNION SELECT conrelid FROM pg_constraint WHERE confrelid = rel AND contype = 'f'
            UNION SELECT a.other FROM pgveneer.task t, hologres.added_keys(t.params -> 'actions', t.params ->> 'search_path') a
                   WHERE t.task_id = id
            UNION SELECT w.ev_class FROM unnest(dependents) d JOIN pg_rewrite w ON w.oid = d.id
                    JOIN pg_class c ON c.oid = w.ev_class AND c.relkind <> 'v' WHERE d.kind = 'rule'
            UNION SELECT p.polrelid FROM unnest(dependents) d JOIN pg_policy p ON p.oid = d.id
                   WHERE d.kind = 'policy') k
     WHERE k.other <> rel
       AND has_table_privilege(k.other, 'UPDATE, DELETE, TRUNCATE'); -- else the statement itself asks for it
END $$;

-- What the statements of the swap are made from, by oid: the table, what hangs on it, and what that hangs on.
DROP FUNCTION IF EXISTS hologres.surroundings_of(oid), hologres.views_of(oid);
CREATE OR REPLACE FUNCTION hologres.surroundings_of(id text) RETURNS oid[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    rel oid := (SELECT relid FROM hologres.rebuild WHERE query_id = id);
    ids oid[] := rel || ARRAY(SELECT relid FROM pg_partition_tree(rel))
        || ARRAY(SELECT d.id FROM hologres.dependents_of(rel, hologres.task_changes(id)) d);
BEGIN
    RETURN (SELECT array_agg(DISTINCT x) FROM (
        SELECT unnest(ids)
        UNION ALL SELECT t.oid FROM pg_class c JOIN pg_type t ON c.reltype IN (t.oid, t.typelem) WHERE c.oid = ANY (ids)
             AND c.reltype <> 0
        UNION ALL SELECT ev_class FROM pg_rewrite WHERE oid = ANY (ids)
        UNION ALL SELECT polrelid FROM pg_policy WHERE oid = ANY (ids)
        UNION ALL SELECT d.refobjid FROM pg_rewrite w JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass
             AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass WHERE w.ev_class = ANY (ids)
        UNION ALL SELECT indexrelid FROM pg_index WHERE indrelid = ANY (ids)
        UNION ALL SELECT unnest(ARRAY[oid, conrelid, confrelid]) FROM pg_constraint
             WHERE contype = 'f' AND (conrelid = rel OR confrelid = rel)) AS o(x));
END $$;

-- Which versions of which rows of the catalogs say something about these objects, as one value: it changes
-- when they do, or when something new depends on them. It is asked for under the locks of the swap, hence
-- goes by indexes alone, and is planned once.
CREATE OR REPLACE FUNCTION hologres.versions_of(ids oid[]) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
AS $$
BEGIN
    RETURN (SELECT md5(string_agg(id || ' ' || version, E'\n' ORDER BY id, version)) FROM (
        SELECT oid, xmin::text FROM pg_class WHERE oid = ANY (ids)
        UNION ALL SELECT attrelid, attnum || ' ' || xmin FROM pg_attribute WHERE attrelid = ANY (ids) AND attnum > 0
        UNION ALL SELECT oid, 'd' || xmin FROM pg_attrdef WHERE adrelid = ANY (ids)
        UNION ALL SELECT oid, 'c' || xmin FROM pg_constraint WHERE conrelid = ANY (ids)
        UNION ALL SELECT oid, 'c' || xmin FROM pg_constraint WHERE oid = ANY (ids)
        UNION ALL SELECT indexrelid, 'i' || xmin FROM pg_index WHERE indrelid = ANY (ids)
        UNION ALL SELECT oid, 't' || xmin FROM pg_trigger WHERE tgrelid = ANY (ids)
        UNION ALL SELECT oid, 'r' || xmin FROM pg_rewrite WHERE ev_class = ANY (ids)
        UNION ALL SELECT oid, 'f' || xmin FROM pg_proc WHERE oid = ANY (ids)
        UNION ALL SELECT oid, 'p' || xmin FROM pg_policy WHERE polrelid = ANY (ids)
        UNION ALL SELECT oid, 'u' || xmin FROM pg_publication_rel WHERE prrelid = ANY (ids)
        UNION ALL SELECT oid, 's' || xmin FROM pg_statistic_ext WHERE stxrelid = ANY (ids)
        UNION ALL SELECT objoid, 'm' || xmin FROM pg_description WHERE objoid = ANY (ids)
        UNION ALL SELECT objid, 'n' || refobjsubid FROM pg_depend WHERE refobjid = ANY (ids) AND refclassid = ANY (
                     ARRAY['pg_class'::regclass, 'pg_type'::regclass, 'pg_proc'::regclass])) AS v(id, version));
END $$;

-- What the job looks at between the statements of the swap. HG001: not now, but it may succeed with
-- everything read again.
CREATE OR REPLACE FUNCTION hologres.check_versions(ids oid[], before text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF hologres.versions_of(ids) <> before THEN
        RAISE EXCEPTION 'the table was altered meanwhile' USING ERRCODE = 'HG001';
    END IF;
END $$;
-- From the end of check_snapshot to the end of swap writers wait.
CREATE OR REPLACE FUNCTION hologres.end_step(id text, number integer) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE hologres.rebuild_step SET end_time = clock_timestamp() WHERE query_id = id AND step_id = number;
END $$;
CREATE OR REPLACE FUNCTION hologres.check_round() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_temp.rebuild_out WHERE value::text LIKE '-%') THEN
        RAISE EXCEPTION 'the table was truncated meanwhile' USING ERRCODE = 'HG001';
    END IF;
END $$;
CREATE OR REPLACE FUNCTION hologres.check_ran(number integer) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_temp.rebuild_ran r WHERE r.number = check_ran.number) THEN
        RAISE EXCEPTION 'the owner''s function did not run' USING ERRCODE = 'XX000';
    END IF;
END $$;

-- Virtual transactions that hold locks now which a lock on the table would have to wait for, or one on the
-- other tables of its foreign keys. strong: ACCESS EXCLUSIVE; else a lock beside which others read.
CREATE OR REPLACE FUNCTION hologres.lock_holders(rel oid, strong boolean) RETURNS text[]
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN (SELECT coalesce(array_agg(DISTINCT l.virtualtransaction), '{}')
              FROM pg_locks l WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
               AND (strong OR l.mode NOT IN ('AccessShareLock', 'RowShareLock'))
               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
               AND (l.relation = rel OR strong AND l.relation IN (
                      SELECT confrelid FROM pg_constraint WHERE conrelid = rel AND contype = 'f'
                      UNION ALL SELECT conrelid FROM pg_constraint WHERE confrelid = rel AND contype = 'f')));
END $$;

CREATE OR REPLACE FUNCTION hologres.comment_statement(kind text, name text, objoid oid, class regclass)
    RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('COMMENT ON %s %s IS %L', kind, name, d)
      FROM obj_description(objoid, class::text) d WHERE d IS NOT NULL
$$;

-- Triggers of users, and the read-only mark unless this rebuild set it.
CREATE OR REPLACE FUNCTION hologres.is_carried(g pg_trigger, id text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT NOT g.tgisinternal AND g.tgname NOT LIKE 'tmp\_rebuild\_%'
       AND NOT (g.tgname LIKE 'hologres\_readonly%'
                AND pg_get_triggerdef(g.oid) LIKE '%refuse_write(' || quote_literal(id) || ')%')
$$;

-- What came to hang on the table since the submit may be what cannot be carried over.
CREATE OR REPLACE FUNCTION hologres.check_swap(id text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    r hologres.rebuild := (SELECT r FROM hologres.rebuild r WHERE r.query_id = id);
    t pgveneer.task := (SELECT t FROM pgveneer.task t WHERE t.task_id = id);
BEGIN
    PERFORM hologres.raise_problems(hologres.qualified_name(r.relid),
        ARRAY(SELECT p FROM hologres.table_problems(r.relid, t.params -> 'options',
                                                    t.params -> 'actions') p)
        || ARRAY(SELECT p FROM hologres.copy_problems(r.relid, t.params -> 'actions') p));
    IF r.capture = 'key' THEN -- else the rebuild starts again
        PERFORM hologres.check_children(id);
    END IF;
    PERFORM hologres.check_detached(r.relid);
END $$;

-- What the copy can be given before it has its name, beside the writers. The server keeps pg_attver itself.
CREATE OR REPLACE FUNCTION hologres.copy_statements(id text) RETURNS TABLE (role text, statement text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET quote_all_identifiers = off
AS $$
DECLARE
    r hologres.rebuild := (SELECT r FROM hologres.rebuild r WHERE r.query_id = id);
    c pg_class := (SELECT c FROM pg_class c WHERE c.oid = r.relid);
    n pg_class := (SELECT z FROM pg_class z WHERE z.oid = r.new_relid);
    owner text := pg_get_userbyid(c.relowner);
    copy text := hologres.qualified_name(r.new_relid);
    part text;
BEGIN
    role := owner;
    IF n.relkind = 'r' AND NOT coalesce(c.reloptions::text LIKE '%autovacuum_enabled=%', false) THEN
        statement := format('ALTER TABLE %s RESET (autovacuum_enabled)', copy);
        RETURN NEXT;
    ELSIF n.relkind = 'r' THEN
        statement := format('ALTER TABLE %s SET (%s)', copy, (SELECT o FROM unnest(c.reloptions) o
                            WHERE o LIKE 'autovacuum_enabled=%'));
        RETURN NEXT;
    END IF;
    FOR part IN SELECT 'toast.' || o FROM pg_class p, unnest(p.reloptions) o
                 WHERE p.oid = c.reltoastrelid AND n.reltoastrelid <> 0 AND n.relkind = 'r' LOOP
        statement := format('ALTER TABLE %s SET (%s)', copy, part);
        RETURN NEXT;
    END LOOP;
    IF c.relreplident IN ('f', 'n') THEN
        statement := format('ALTER TABLE %s REPLICA IDENTITY %s', copy,
                            CASE c.relreplident WHEN 'f' THEN 'FULL' ELSE 'NOTHING' END);
        RETURN NEXT;
    END IF;
    RETURN QUERY SELECT owner, format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s', copy, a.attname,
                                      a.attstattarget)
      FROM pg_attribute a WHERE a.attrelid = r.relid AND a.attnum > 0 AND a.attstattarget >= 0
       AND NOT a.attisdropped;
    RETURN QUERY SELECT owner, format('ALTER TABLE %s ALTER COLUMN %I SET (%s)', copy, a.attname,
                                      string_agg(o, ', '))
      FROM pg_attribute a, unnest(a.attoptions) o WHERE a.attrelid = r.relid AND a.attnum > 0
       AND NOT a.attisdropped AND o NOT LIKE 'pg\_attver=%' GROUP BY a.attname;
END $$;

-- CHECK and NOT NULL of the table that its rows may violate, as far as the actions leave them.
CREATE OR REPLACE FUNCTION hologres.unproved_constraints(rel oid, copy oid, actions jsonb) RETURNS SETOF pg_constraint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT k.* FROM pg_constraint k LEFT JOIN pg_attribute a ON a.attrelid = rel AND a.attnum = k.conkey[1]
     WHERE k.conrelid = rel AND NOT k.convalidated
       AND (k.contype = 'c' OR k.contype = 'n'
            AND NOT (SELECT attnotnull FROM pg_attribute n WHERE n.attrelid = copy AND n.attname = a.attname)
            AND NOT EXISTS (SELECT FROM jsonb_array_elements(actions) x
                             WHERE x ->> 'do' = 'drop_not_null' AND x ->> 'column' = a.attname))
$$;

-- The swap. Names: `target` is the table's, before and after.
CREATE OR REPLACE FUNCTION hologres.swap_statements(id text) RETURNS TABLE (role text, statement text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET quote_all_identifiers = off
AS $$
DECLARE
    r hologres.rebuild := (SELECT r FROM hologres.rebuild r WHERE r.query_id = id);
    t pgveneer.task := (SELECT t FROM pgveneer.task t WHERE t.task_id = id);
    keep boolean := t.params -> 'options' ? 'keep_source';
    c pg_class := (SELECT c FROM pg_class c WHERE c.oid = r.relid);
    n pg_class := (SELECT z FROM pg_class z WHERE z.oid = r.new_relid);
    owner text := pg_get_userbyid(c.relowner);
    schema text := quote_ident(c.relnamespace::regnamespace::text);
    target text := hologres.qualified_name(r.relid);
    copy text := hologres.qualified_name(r.new_relid);
    old_name text := hologres.old_table_name(id, r.relid);
    old text;
    x record;
    i jsonb;
    s text;
    part text;
    number integer := 0;
    changed text[] := hologres.task_changes(id);
BEGIN
    RETURN QUERY SELECT * FROM hologres.release_statements(r.relid, changed);
    schema := format('%I', (SELECT nspname FROM pg_namespace WHERE oid = c.relnamespace));
    old := schema || '.' || quote_ident(old_name);
    role := owner;
    -- what leaves the old table
    FOR x IN SELECT k.*, o.relowner FROM pg_constraint k JOIN pg_class o ON o.oid = k.conrelid
              WHERE (k.conrelid = r.relid OR k.confrelid = r.relid) AND k.contype = 'f'
                AND k.conparentid = 0 ORDER BY k.oid LOOP
        role := pg_get_userbyid(x.relowner);
        statement := format('ALTER TABLE %s DROP CONSTRAINT %I', hologres.qualified_name(x.conrelid),
                            x.conname);
        RETURN NEXT;
    END LOOP;
    FOR x IN SELECT p.pubname, p.pubowner, u.prrelid FROM pg_publication_rel u JOIN pg_publication p
                 ON p.oid = u.prpubid WHERE u.prrelid IN (SELECT r.relid UNION ALL
                    SELECT relid FROM pg_partition_tree(r.relid)) LOOP
        role := pg_get_userbyid(x.pubowner);
        statement := format('ALTER PUBLICATION %I DROP TABLE %s', x.pubname,
                            hologres.qualified_name(x.prrelid));
        RETURN NEXT;
    END LOOP;
    role := owner;
    FOR x IN SELECT g.tgname FROM pg_trigger g WHERE g.tgrelid = r.relid AND NOT g.tgisinternal
                AND keep LOOP -- else they go with the table
        statement := format('DROP TRIGGER %I ON %s', x.tgname, target);
        RETURN NEXT;
    END LOOP;
    IF keep THEN
        RETURN QUERY SELECT owner, z FROM hologres.child_trigger_statements(id) z;
    END IF;
    FOR x IN SELECT e.stxname, e.stxnamespace FROM pg_statistic_ext e WHERE e.stxrelid = r.relid LOOP
        statement := format('DROP STATISTICS %I.%I', (SELECT nspname FROM pg_namespace
                            WHERE oid = x.stxnamespace), x.stxname);
        RETURN NEXT;
    END LOOP;
    -- names
    statement := format('ALTER TABLE %s RENAME TO %I', target, old_name);
    RETURN NEXT;
    FOR x IN SELECT o.oid, o.relname FROM pg_index q JOIN pg_class o ON o.oid = q.indexrelid
              WHERE q.indrelid = r.relid LOOP
        statement := format('ALTER INDEX %s.%I RENAME TO %I', schema, x.relname,
                            hologres.cut('tmp_rebuild_old_' || id || '_' || x.oid || '_' || x.relname, 63));
        RETURN NEXT;
    END LOOP;
    RETURN QUERY SELECT owner, z FROM hologres.old_children_statements(id) z;
    FOR x IN SELECT a.attname, q.oid, q.relname, d.deptype FROM pg_depend d
               JOIN pg_class q ON q.oid = d.objid AND q.relkind = 'S'
               JOIN pg_attribute a ON a.attrelid = r.relid AND a.attnum = d.refobjsubid
              WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
                AND d.refobjid = r.relid AND d.deptype IN ('a', 'i') LOOP
        IF x.deptype = 'i' THEN
            statement := format('ALTER SEQUENCE %s RENAME TO %I', hologres.qualified_name(x.oid),
                hologres.cut('tmp_rebuild_old_' || id || '_' || x.oid || '_' || x.relname, 63));
        ELSE
            statement := format('ALTER SEQUENCE %s OWNED BY %s.%I', hologres.qualified_name(x.oid), copy,
                                x.attname);
        END IF;
        RETURN NEXT;
    END LOOP;
    FOR part IN SELECT format('DROP COLUMN %I', a.attname) FROM pg_attribute a
                 WHERE a.attrelid = r.new_relid AND a.attname LIKE 'tmp\_rebuild\_key\_%'
                   AND NOT a.attisdropped LOOP
        statement := format('ALTER TABLE %s %s', copy, part);
        RETURN NEXT;
    END LOOP;
    IF EXISTS (SELECT FROM pg_class WHERE relnamespace = c.relnamespace
                  AND relname = 'tmp_rebuild_' || id || '_key') AND NOT EXISTS (
               SELECT FROM hologres.key_columns(r.relid, t.params -> 'actions') WHERE converted) THEN
        statement := format('DROP INDEX %s.%I', schema, 'tmp_rebuild_' || id || '_key');
        RETURN NEXT;
    END IF;
    statement := format('ALTER TABLE %s RENAME TO %I', copy, c.relname);
    RETURN NEXT;
    FOR i IN SELECT e FROM jsonb_array_elements(r.plan -> 'indexes') e LOOP
        statement := format('ALTER INDEX %s.%I RENAME TO %I', schema, i ->> 'tmp_name', i ->> 'name');
        RETURN NEXT;
        IF (i ->> 'source') ~ '^\d+$' THEN
            RETURN QUERY SELECT owner, z FROM hologres.comment_statement('INDEX',
                schema || '.' || quote_ident(i ->> 'name'), (i ->> 'source')::oid, 'pg_class') z;
            RETURN QUERY SELECT owner, format('COMMENT ON CONSTRAINT %I ON %s IS %L', k.conname, target,
                    obj_description(k.oid, 'pg_constraint'))
                FROM pg_constraint k WHERE k.conindid = (i ->> 'source')::oid AND k.conrelid = r.relid
                 AND k.contype IN ('p', 'u', 'x') AND obj_description(k.oid, 'pg_constraint') IS NOT NULL;
            RETURN QUERY SELECT owner, format('ALTER INDEX %s.%I ALTER COLUMN %s SET STATISTICS %s', schema,
                    i ->> 'name', a.attnum, a.attstattarget)
                FROM pg_attribute a WHERE a.attrelid = (i ->> 'source')::oid AND a.attstattarget >= 0;
            IF n.relkind = 'r' AND (SELECT q.indisclustered FROM pg_index q WHERE q.indexrelid = (i ->> 'source')::oid)
               AND hologres.order_of(id) IS NULL THEN
                statement := format('ALTER TABLE %s CLUSTER ON %I', target, i ->> 'name');
                RETURN NEXT;
            END IF;
            IF c.relreplident = 'i' AND (SELECT q.indisreplident FROM pg_index q
                                          WHERE q.indexrelid = (i ->> 'source')::oid) THEN
                statement := format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', target, i ->> 'name');
                RETURN NEXT;
            END IF;
        END IF;
    END LOOP;
    SELECT q.relname INTO part FROM pgveneer.task y, jsonb_array_elements(hologres.task_properties(id)) p
      JOIN pg_class q ON q.oid = hologres.find_order_index(r.new_relid, p ->> 'value')
     WHERE y.task_id = id AND p ->> 'name' = 'clustering_key' AND p ->> 'value' <> '' AND n.relkind = 'r';
    IF FOUND THEN
        statement := format('ALTER TABLE %s CLUSTER ON %I', target, coalesce((SELECT e ->> 'name'
            FROM jsonb_array_elements(r.plan -> 'indexes') e WHERE e ->> 'tmp_name' = part), part));
        RETURN NEXT;
    END IF;
    -- sequences of identity columns, and of columns that were added
    FOR x IN SELECT a.attname, q.oid, q.relname, q.relowner, q.relacl, b.oid AS before,
                    b.relname AS before_name, b.relacl AS before_acl, b.atttypid = a.atttypid AS same_type,
                    (SELECT seqtypid FROM pg_sequence WHERE seqrelid = q.oid) AS type
               FROM pg_depend d JOIN pg_class q ON q.oid = d.objid AND q.relkind = 'S'
               JOIN pg_attribute a ON a.attrelid = r.new_relid AND a.attnum = d.refobjsubid
               LEFT JOIN (SELECT o.*, e.attname, e.atttypid FROM pg_depend f JOIN pg_class o ON o.oid = f.objid
                             AND o.relkind = 'S'
                            JOIN pg_attribute e ON e.attrelid = r.relid AND e.attnum = f.refobjsubid
                           WHERE f.classid = 'pg_class'::regclass AND f.refclassid = 'pg_class'::regclass
                             AND f.refobjid = r.relid AND f.deptype = 'i') b ON b.attname = a.attname
              WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
                AND d.refobjid = r.new_relid AND d.deptype IN ('a', 'i') LOOP
        part := schema || '.' || quote_ident(coalesce(x.before_name,
                    hologres.own_name(r.relid, ARRAY[x.attname], 'seq')));
        statement := format('ALTER SEQUENCE %s RENAME TO %I', hologres.qualified_name(x.oid), coalesce(
                        x.before_name, hologres.own_name(r.relid, ARRAY[x.attname], 'seq')));
        RETURN NEXT;
        IF x.before IS NOT NULL AND x.same_type -- LIKE made it a bigint
           AND x.type <> (SELECT seqtypid FROM pg_sequence WHERE seqrelid = x.before) THEN
            statement := format('ALTER SEQUENCE %s AS %s', part, (SELECT format_type(seqtypid, NULL)
                                FROM pg_sequence WHERE seqrelid = x.before));
            RETURN NEXT;
        END IF;
        IF x.before IS NOT NULL THEN
            statement := format('SELECT pg_catalog.setval(%L::pg_catalog.regclass, last_value, is_called) '
                'FROM %s.%I', part, schema,
                hologres.cut('tmp_rebuild_old_' || id || '_' || x.before || '_' || x.before_name, 63));
            RETURN NEXT;
            RETURN QUERY SELECT g.role, g.statement FROM hologres.grant_statements('SEQUENCE', part,
                             x.relowner, x.before_acl, x.relacl) g;
            RETURN QUERY SELECT owner, z FROM hologres.comment_statement('SEQUENCE', part, x.before,
                                                                         'pg_class') z;
        END IF;
    END LOOP;
    RETURN QUERY SELECT * FROM hologres.renew_statements(r.relid, changed);
    role := owner;
    -- the table itself
    RETURN QUERY SELECT owner, z FROM hologres.comment_statement('TABLE', target, r.relid, 'pg_class') z;
    RETURN QUERY SELECT owner, z FROM hologres.label_statements('TABLE', target, 'pg_class'::regclass, r.relid) z;
    IF n.relkind = 'p' THEN
        RETURN QUERY SELECT z.role, z.statement FROM hologres.new_children_statements(id) z;
        RETURN QUERY SELECT owner, z FROM hologres.default_statements(id) z;
    END IF;
    RETURN QUERY SELECT g.role, g.statement FROM hologres.grant_statements('TABLE', target, c.relowner,
                     c.relacl, n.relacl) g;
    RETURN QUERY SELECT g.role, g.statement FROM pg_attribute a, hologres.grant_statements('TABLE', target,
                     c.relowner, a.attacl, NULL, format(' (%I)', a.attname)) g
      WHERE a.attrelid = r.relid AND a.attnum > 0 AND a.attacl IS NOT NULL AND NOT a.attisdropped;
    -- constraints that were never proved, row security, rules, triggers
    FOR x IN SELECT * FROM hologres.unproved_constraints(r.relid, r.new_relid, t.params -> 'actions') LOOP
        statement := format('ALTER TABLE %s ADD CONSTRAINT %I %s', target, x.conname, pg_get_constraintdef(x.oid));
        RETURN NEXT;
        RETURN QUERY SELECT owner, z FROM hologres.comment_statement('CONSTRAINT',
                         format('%I ON %s', x.conname, target), x.oid, 'pg_constraint') z;
    END LOOP;
    IF c.relrowsecurity THEN
        RETURN QUERY SELECT owner, format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    END IF;
    IF c.relforcerowsecurity THEN
        RETURN QUERY SELECT owner, format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    END IF;
    RETURN QUERY SELECT owner, format('CREATE POLICY %I ON %s AS %s FOR %s TO %s%s', p.polname, target,
            CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
            CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                          WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
            (SELECT string_agg(CASE o WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(o)) END, ', ')
               FROM unnest(p.polroles) o), hologres.policy_expressions(p))
      FROM pg_policy p WHERE p.polrelid = r.relid ORDER BY p.oid;
    RETURN QUERY SELECT owner, z FROM pg_policy p, hologres.comment_statement('POLICY',
                     format('%I ON %s', p.polname, target), p.oid, 'pg_policy') z
      WHERE p.polrelid = r.relid;
    RETURN QUERY SELECT owner, z FROM (SELECT w.oid FROM pg_rewrite w WHERE w.ev_class = r.relid ORDER BY w.oid) w,
                        hologres.rule_statements(w.oid) z;
    RETURN QUERY SELECT owner, pg_get_triggerdef(g.oid) FROM pg_trigger g
      WHERE g.tgrelid = r.relid AND hologres.is_carried(g, id) ORDER BY g.oid;
    RETURN QUERY SELECT owner, format('ALTER TABLE %s %s TRIGGER %I', target, CASE g.tgenabled
                 WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, g.tgname)
      FROM pg_trigger g WHERE g.tgrelid = r.relid AND g.tgenabled <> 'O' AND hologres.is_carried(g, id);
    RETURN QUERY SELECT owner, z FROM pg_trigger g, hologres.comment_statement('TRIGGER',
                     format('%I ON %s', g.tgname, target), g.oid, 'pg_trigger') z
      WHERE g.tgrelid = r.relid AND hologres.is_carried(g, id);
    RETURN QUERY SELECT owner, regexp_replace(pg_get_statisticsobjdef(e.oid), '', '')
      FROM pg_statistic_ext e WHERE e.stxrelid = r.relid ORDER BY e.oid;
    RETURN QUERY SELECT owner, format('ALTER STATISTICS %I.%I SET STATISTICS %s', (SELECT nspname
                 FROM pg_namespace WHERE oid = e.stxnamespace), e.stxname, e.stxstattarget)
      FROM pg_statistic_ext e WHERE e.stxrelid = r.relid AND e.stxstattarget >= 0;
    RETURN QUERY SELECT owner, z FROM pg_statistic_ext e, hologres.comment_statement('STATISTICS',
                     format('%I.%I', (SELECT nspname FROM pg_namespace WHERE oid = e.stxnamespace),
                            e.stxname), e.oid, 'pg_statistic_ext') z WHERE e.stxrelid = r.relid;
    -- foreign keys, proved after the swap; those that were not stay so
    FOR x IN SELECT k.*, o.relowner, pg_get_constraintdef(k.oid) AS definition,
                    k.convalidated AND CASE k.conrelid WHEN r.relid THEN n.relkind ELSE o.relkind END = 'p' AS of_parent
               FROM pg_constraint k JOIN pg_class o ON o.oid = k.conrelid
              WHERE (k.conrelid = r.relid OR k.confrelid = r.relid) AND k.contype = 'f'
                AND k.conparentid = 0 ORDER BY k.oid LOOP
        role := pg_get_userbyid(x.relowner);
        IF x.of_parent THEN
            statement := format('SELECT hologres.add_leaf_keys(%L, %L, %L)', hologres.qualified_name(x.conrelid),
                                x.conname, x.definition);
            RETURN NEXT;
            CONTINUE;
        END IF;
        statement := format('ALTER TABLE %s ADD CONSTRAINT %I %s%s', hologres.qualified_name(x.conrelid),
            x.conname, x.definition, CASE WHEN x.convalidated THEN ' NOT VALID' ELSE '' END);
        RETURN NEXT;
        RETURN QUERY SELECT pg_get_userbyid(x.relowner)::text, z FROM hologres.comment_statement('CONSTRAINT',
            format('%I ON %s', x.conname, hologres.qualified_name(x.conrelid)), x.oid, 'pg_constraint') z;
    END LOOP;
    role := owner;
    RETURN QUERY SELECT owner, z FROM hologres.added_key_statements(r.relid, target, t.params -> 'actions',
                                                                    t.params ->> 'search_path') z;
    -- the guard against snapshots older than the swap
    RETURN QUERY SELECT owner, z FROM unnest(hologres.guard_statements(target)) z;
    IF keep THEN
        RETURN QUERY SELECT owner, z FROM hologres.kept_children_statements(id) z;
        RETURN QUERY SELECT owner, z FROM hologres.readonly_statements(old, id) z;
    END IF;
    -- publications, and what reads the table
    RETURN QUERY SELECT pg_get_userbyid(p.pubowner)::text, format('ALTER PUBLICATION %I ADD TABLE %s%s%s',
            p.pubname, hologres.qualified_name(u.prrelid), hologres.publication_columns(u.oid),
            hologres.publication_filter(u.oid))
      FROM pg_publication_rel u JOIN pg_publication p ON p.oid = u.prpubid
     WHERE u.prrelid IN (SELECT r.relid UNION ALL SELECT relid FROM pg_partition_tree(r.relid));
    RETURN QUERY SELECT * FROM hologres.rewrite_statements(r.relid, changed);
END $$;

-- Column list and row filter of a table in a publication (PostgreSQL 15 and later have them).
CREATE OR REPLACE FUNCTION hologres.publication_columns(rel oid) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    list text;
BEGIN
    IF current_setting('server_version_num')::integer >= 150000 THEN
        EXECUTE 'SELECT string_agg(quote_ident(a.attname), '', '' ORDER BY a.attnum) FROM '
                'pg_publication_rel u JOIN pg_attribute a ON a.attrelid = u.prrelid '
                'AND a.attnum = ANY (u.prattrs) WHERE u.oid = $1' INTO list USING rel;
    END IF;
    RETURN coalesce(' (' || list || ')', '');
END $$;
CREATE OR REPLACE FUNCTION hologres.publication_filter(rel oid) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    filter text;
BEGIN
    IF current_setting('server_version_num')::integer >= 150000 THEN
        EXECUTE 'SELECT pg_get_expr(prqual, prrelid) FROM pg_publication_rel WHERE oid = $1'
           INTO filter USING rel;
    END IF;
    RETURN coalesce(' WHERE (' || filter || ')', '');
END $$;

-- A transaction whose snapshot is older than the swap reads an empty table, or writes to rows that it
-- does not see: it must start again. READ COMMITTED takes a new snapshot for each statement.
CREATE OR REPLACE FUNCTION hologres.refuse_old_snapshot() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    IF NOT pg_catalog.pg_visible_in_snapshot(TG_ARGV[0]::pg_catalog.xid8,
                                             pg_catalog.pg_current_snapshot()) THEN
        RAISE EXCEPTION 'could not serialize access due to a rebuild of table "%"', TG_TABLE_NAME
            USING ERRCODE = '40001', HINT = 'The transaction might succeed if retried.';
    END IF;
    RETURN NULL;
END $$;

-- Foreign keys that nobody has proved, which the swap keeps so.
CREATE OR REPLACE FUNCTION hologres.note_unproved(id text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE hologres.rebuild r SET plan = plan || jsonb_build_object('unproved', (
           SELECT coalesce(jsonb_agg(k.conname), '[]') FROM pg_constraint k
            WHERE (k.conrelid = r.relid OR k.confrelid = r.relid) AND k.contype = 'f'
              AND NOT k.convalidated), 'parent_keys', (
           SELECT coalesce(jsonb_agg(p), '[]') FROM (
           SELECT jsonb_build_object('table', hologres.qualified_name(k.conrelid), 'name', k.conname,
                    'definition', pg_get_constraintdef(k.oid), 'role', pg_get_userbyid(o.relowner),
                    'comment', obj_description(k.oid, 'pg_constraint'))
             FROM pg_constraint k JOIN pg_class o ON o.oid = k.conrelid
             LEFT JOIN pg_class n ON n.oid = CASE k.conrelid WHEN r.relid THEN r.new_relid ELSE k.conrelid END
            WHERE (k.conrelid = r.relid OR k.confrelid = r.relid) AND k.contype = 'f' AND k.conparentid = 0
              AND k.convalidated AND n.relkind = 'p'
           UNION ALL
           SELECT jsonb_build_object('table', hologres.qualified_name(r.relid), 'name', k.name, 'definition',
                    k.definition, 'role', pg_get_userbyid(c.relowner))
             FROM pgveneer.task t JOIN pg_class c ON c.oid = r.relid, hologres.added_key_definitions(r.relid,
                  hologres.qualified_name(r.relid), t.params -> 'actions', t.params ->> 'search_path') k
            WHERE t.task_id = id AND k.parted) AS keys(p)))
     WHERE r.query_id = id;
END $$;

-- In the transaction of the owners' statements, before them: what our tables say of the table.
CREATE OR REPLACE FUNCTION hologres.take_swap(id text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    r hologres.rebuild := (SELECT r FROM hologres.rebuild r WHERE r.query_id = id);
BEGIN
    PERFORM hologres.note_unproved(id);
    IF hologres.becomes_logical(id) THEN
        INSERT INTO hologres.table_property (relid, key, value)
        VALUES (r.relid, 'is_logical_partitioned_table', 'true') ON CONFLICT DO NOTHING;
    END IF;
    UPDATE hologres.table_property SET relid = r.new_relid WHERE relid = r.relid;
    UPDATE hologres.rebuild b SET relid = r.new_relid
      FROM pgveneer.task t WHERE t.task_id = b.query_id AND t.state <> 'done' AND b.relid = r.relid
       AND b.query_id <> id;
    UPDATE pgveneer.task t SET params = jsonb_set(t.params, '{relid}', to_jsonb(r.new_relid))
     WHERE t.category = 'REBUILD' AND t.state <> 'done' AND (t.params ->> 'relid')::oid = r.relid;
    UPDATE hologres.rebuild SET old_relid = r.relid, relid = r.new_relid, new_relid = NULL WHERE query_id = id;
    UPDATE hologres.rebuild_step SET status = 'done', progress = '1/1', start_time = clock_timestamp(),
           end_time = clock_timestamp()
     WHERE query_id = id AND step = 'check_additional_child_table' AND status IS NULL
       AND (SELECT relkind = 'p' FROM pg_class WHERE oid = r.relid) AND NOT hologres.is_logical(r.new_relid);
    PERFORM hologres.finish(id);
END $$;

-- The log and its functions.
CREATE OR REPLACE FUNCTION hologres.drop_log_statements(id text) RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
    SELECT format('DROP TABLE hologres.%I', c.relname) FROM pg_class c
     WHERE c.relname = 'rebuild_log_' || id AND c.relnamespace = 'hologres'::regnamespace
    UNION ALL
    SELECT format('DROP FUNCTION hologres.%I()', p.proname) FROM pg_proc p
     WHERE p.proname LIKE 'rebuild\_log\_' || id || '\_%' AND p.pronamespace = 'hologres'::regnamespace
$$;

-- Triggers of the rebuild on partitions, of those too that were detached meanwhile.
CREATE OR REPLACE FUNCTION hologres.child_trigger_statements(id text) RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET quote_all_identifiers = off
AS $$
    SELECT format('DROP TRIGGER %I ON %s', g.tgname, hologres.qualified_name(g.tgrelid))
      FROM hologres.rebuild r, pg_trigger g
     WHERE r.query_id = id AND g.tgname = 'tmp_rebuild_' || id || '_4' AND NOT g.tgisinternal
       AND g.tgrelid NOT IN (r.relid, coalesce(r.old_relid, 0)) AND (r.old_relid IS NULL OR NOT EXISTS (
           SELECT FROM pg_partition_tree(r.old_relid) t WHERE t.relid = g.tgrelid))
$$;

-- What is left to do once the swap is visible, each in a transaction of its own. wait: a lock is tried
-- for as often as needed.
CREATE OR REPLACE FUNCTION hologres.after_statements(id text) RETURNS TABLE (role text, statement text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET quote_all_identifiers = off
AS $$
    SELECT pg_get_userbyid(o.relowner)::text, format('ALTER TABLE %s VALIDATE CONSTRAINT %I',
               hologres.qualified_name(k.conrelid), k.conname)
      FROM hologres.rebuild r JOIN pg_constraint k ON k.confrelid = r.relid OR k.conrelid IN (
           SELECT r.relid UNION ALL SELECT relid FROM pg_partition_tree(r.relid))
      JOIN pg_class o ON o.oid = k.conrelid
     WHERE r.query_id = id AND k.contype = 'f' AND k.conparentid = 0 AND NOT k.convalidated
       AND NOT r.plan -> 'unproved' ? k.conname
    UNION ALL
    SELECT k ->> 'role', format('ALTER TABLE %s ADD CONSTRAINT %I %s', k ->> 'table', k ->> 'name', k ->> 'definition')
      FROM hologres.rebuild r, jsonb_array_elements(r.plan -> 'parent_keys') k
     WHERE r.query_id = id AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conname = k ->> 'name'
           AND hologres.qualified_name(c.conrelid) = k ->> 'table')
    UNION ALL
    SELECT k ->> 'role', format('COMMENT ON CONSTRAINT %I ON %s IS %L', k ->> 'name', k ->> 'table', k ->> 'comment')
      FROM hologres.rebuild r, jsonb_array_elements(r.plan -> 'parent_keys') k
     WHERE r.query_id = id AND k ->> 'comment' IS NOT NULL
    UNION ALL
    SELECT NULL, 'DROP VIEW ' || hologres.rows_of(id) WHERE hologres.rows_of(id) IS NOT NULL
    UNION ALL
    SELECT NULL, format('DROP TABLE %s', hologres.qualified_name(r.old_relid))
      FROM hologres.rebuild r JOIN pgveneer.task t ON t.task_id = r.query_id
     WHERE r.query_id = id AND NOT t.params -> 'options' ? 'keep_source'
       AND hologres.qualified_name(r.old_relid) IS NOT NULL
    UNION ALL
    SELECT NULL, s FROM hologres.child_trigger_statements(id) s
    UNION ALL
    SELECT NULL, s FROM hologres.drop_log_statements(id) s
$$;

-- Statements that remove what the rebuild left in the database.
CREATE OR REPLACE FUNCTION hologres.cleanup_statements(id text) RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET quote_all_identifiers = off
AS $$
    SELECT 'DROP VIEW ' || hologres.rows_of(id) WHERE hologres.rows_of(id) IS NOT NULL
    UNION ALL
    SELECT format('DROP INDEX %s', hologres.qualified_name(x.indexrelid))
      FROM hologres.rebuild r JOIN pg_index x ON x.indrelid = r.relid
      JOIN pg_class i ON i.oid = x.indexrelid
     WHERE r.query_id = id AND i.relname LIKE 'tmp\_rebuild\_' || id || '\_%'
    UNION ALL
    SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', hologres.qualified_name(c.conrelid), c.conname)
      FROM hologres.rebuild r JOIN pg_constraint c ON c.conrelid = r.relid
     WHERE r.query_id = id AND c.contype = 'c' AND c.conname LIKE 'tmp\_rebuild\_' || id || '\_%'
    UNION ALL
    SELECT format('DROP TRIGGER %I ON %s', g.tgname, hologres.qualified_name(g.tgrelid))
      FROM hologres.rebuild r JOIN pg_trigger g ON g.tgrelid = r.relid
     WHERE r.query_id = id AND NOT g.tgisinternal AND g.tgname LIKE 'tmp\_rebuild\_' || id || '\_%'
    UNION ALL
    SELECT s FROM hologres.child_trigger_statements(id) s
    UNION ALL
    SELECT format('DROP TABLE %s', hologres.qualified_name(r.new_relid)) FROM hologres.rebuild r
     WHERE r.query_id = id AND r.new_relid <> r.relid AND hologres.qualified_name(r.new_relid) IS NOT NULL
    UNION ALL
    SELECT format('DROP TABLE %s', hologres.qualified_name(r.old_relid))
      FROM hologres.rebuild r JOIN pgveneer.task t ON t.task_id = r.query_id
     WHERE r.query_id = id AND NOT t.params -> 'options' ? 'keep_source'
       AND hologres.qualified_name(r.old_relid) IS NOT NULL
    UNION ALL
    SELECT s FROM hologres.drop_log_statements(id) s
$$;

-- Starts again with another copy: what the rebuild made goes, and its steps are open again.
CREATE OR REPLACE FUNCTION hologres.start_again(id text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    statement text;
BEGIN
    FOR statement IN SELECT s FROM hologres.cleanup_statements(id) s LOOP
        EXECUTE statement;
    END LOOP;
    DELETE FROM hologres.rebuild_slice WHERE query_id = id;
    DELETE FROM hologres.rebuild_child WHERE query_id = id;
    UPDATE hologres.rebuild SET new_relid = NULL, plan = '{}', waits = false, resumed = false
     WHERE query_id = id;
    UPDATE hologres.rebuild_step SET status = NULL, message = '',
           progress = CASE WHEN progress = '-' THEN '-' ELSE regexp_replace(progress, '^.*/', '0/') END
     WHERE query_id = id AND step_id > 1;
END $$;

-- The whole of it, with the end of the read-only mark that binlog_mode set.
CREATE OR REPLACE FUNCTION hologres.in_place_body(id text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
    SELECT hologres.author_settings(id) || E'\n'
        || hologres.as_body(ARRAY(SELECT s FROM hologres.in_place_statements(id) s)
               || ARRAY(SELECT format('DROP TRIGGER %I ON %s', g.tgname, hologres.qualified_name(g.tgrelid))
                          FROM hologres.rebuild r JOIN pg_trigger g ON g.tgparentid = 0 AND (
                               g.tgrelid = r.relid OR g.tgrelid IN (SELECT relid FROM pg_partition_tree(r.relid)))
                         WHERE r.query_id = id AND g.tgname LIKE 'hologres\_readonly%'
                           AND NOT hologres.is_carried(g, id)))
$$;

REVOKE ALL ON FUNCTION hologres.create_copy_body(text), hologres.take_copy(text, jsonb),
    hologres.log_statements(text), hologres.capture_statements(text),
    hologres.is_captured(text), hologres.check_swap(text), hologres.partition_list(text),
    hologres.partitions_block(text, text), hologres.partitions_body(text), hologres.cut_slices(text),
    hologres.order_of(text), hologres.open_rows(text), hologres.insert_parts(text), hologres.slice_body(text, integer),
    hologres.round_body(text, boolean), hologres.reload_body(text), hologres.indexes_to_build(text),
    hologres.can_be_analyzed(text, boolean),
    hologres.lock_statements(text), hologres.copy_statements(text), hologres.swap_statements(text), hologres.take_swap(text), hologres.note_unproved(text),
    hologres.check_versions(oid[], text), hologres.check_round(), hologres.end_step(text, integer),
    hologres.check_ran(integer),
    hologres.lock_holders(oid, boolean),
    hologres.after_statements(text), hologres.drop_log_statements(text), hologres.start_again(text),
    hologres.cleanup_statements(text), hologres.in_place_body(text)
    FROM PUBLIC;
