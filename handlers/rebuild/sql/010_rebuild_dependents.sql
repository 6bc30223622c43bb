-- revision 2
-- What depends on a table and is not part of it: views, functions, rules and policies of other tables.
-- spec/rebuild.md section 4.3.
--
-- A view that goes on having the same columns is replaced, and a body of BEGIN ATOMIC, a rule or a policy is
-- written again: they keep their oids. What PostgreSQL cannot replace (a view whose columns change their type, a
-- function with the row type in its signature) is dropped and made anew, and so is all that depends on it; owner,
-- grants, comments, options, triggers and rules come back with it. What can be neither is an obstacle.
--
-- All statements are written before the first of them runs. Their texts come from PostgreSQL with a search_path
-- that qualifies every name, so they mean the same whoever reads them.

-- What depends on one object that moves: the table, its row type, a sequence of it, or something that is made
-- anew. changed: columns of the table whose type changes. It is asked often, and takes longer to plan than to run.
CREATE OR REPLACE FUNCTION hologres.direct_dependents(of_class oid, of_id oid, rel oid, changed text[])
    RETURNS SETOF hologres.dependent
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN QUERY WITH d AS (
        SELECT d.*, w.rulename, coalesce(w.ev_class, CASE d.classid WHEN 'pg_class'::regclass THEN d.objid END,
                   y.polrelid, g.tgrelid, f.adrelid, k.conrelid) AS home, k.confrelid, g.tgisinternal, p.proowner,
               to_jsonb(p) ->> 'prosqlbody' IS NOT NULL AS has_body,
               of_class = 'pg_type'::regclass AND (p.prorettype = of_id OR of_id = ANY (p.proargtypes)
                   OR of_id = ANY (p.proallargtypes)) AS in_signature,
               of_id = rel AND of_class = 'pg_class'::regclass AS of_table,
               EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = rel AND a.attnum = d.refobjsubid
                          AND a.attname = ANY (changed)) AS is_changed
          FROM pg_depend d
          LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
          LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
          LEFT JOIN pg_policy y ON d.classid = 'pg_policy'::regclass AND y.oid = d.objid
          LEFT JOIN pg_trigger g ON d.classid = 'pg_trigger'::regclass AND g.oid = d.objid
          LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
          LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
         WHERE d.refclassid = of_class AND d.refobjid = of_id AND d.deptype IN ('n', 'a')),
    e AS (
        SELECT d.*, c.relkind, c.relowner, CASE
            WHEN d.tgisinternal THEN NULL
            WHEN c.relnamespace = 'hologres'::regnamespace AND c.relname LIKE 'rebuild\_rows\_%' THEN NULL -- open_rows
            WHEN c.relkind = 'v' AND (d.rulename = '_RETURN' OR d.classid = 'pg_class'::regclass) THEN
                CASE WHEN d.of_table AND NOT d.is_changed THEN 'replaced view' ELSE 'new view' END
            WHEN d.rulename = '_RETURN' AND d.of_table THEN NULL -- hologres.materialized_views
            WHEN d.rulename <> '_RETURN' AND home <> rel THEN 'rule'
            WHEN d.classid = 'pg_policy'::regclass AND home <> rel THEN 'policy'
            WHEN d.rulename <> '_RETURN' AND NOT d.of_table THEN 'own rule'
            WHEN d.classid = 'pg_policy'::regclass AND NOT d.of_table THEN 'own policy'
            WHEN d.classid = 'pg_trigger'::regclass AND home = rel AND NOT d.of_table THEN 'own trigger'
            WHEN d.in_signature THEN 'new function'
            WHEN d.has_body THEN 'body'
            -- parts of the table, which go with it
            WHEN of_class = 'pg_class'::regclass AND (home = rel OR confrelid = rel) THEN NULL
            WHEN d.of_table AND (d.classid IN ('pg_publication_rel'::regclass, 'pg_statistic_ext'::regclass)
                 OR c.relkind IN ('i', 'I', 'S')
                 OR EXISTS (SELECT FROM pg_inherits WHERE inhrelid = home AND inhparent = rel)) THEN NULL
            ELSE 'obstacle' END AS kind
          FROM d LEFT JOIN pg_class c ON c.oid = d.home
         WHERE of_class <> 'pg_class'::regclass OR of_id = rel OR home IS DISTINCT FROM of_id) -- a view's own parts
    SELECT DISTINCT CASE WHEN kind LIKE '% view' THEN 'pg_class'::regclass ELSE classid END::oid,
           CASE WHEN kind LIKE '% view' THEN home ELSE objid END, kind, 0, coalesce(relowner, proowner),
           CASE WHEN kind LIKE '% view' THEN format('view %s', hologres.qualified_name(home))
                WHEN relkind = 'm' THEN format('materialized view %s', hologres.qualified_name(home))
                ELSE pg_describe_object(classid, objid, objsubid) END
      FROM e WHERE kind IS NOT NULL;
END $$;

-- All of them, and what depends on those that are made anew. stays: the table keeps its oid, and only views of
-- columns that change are in the way.
CREATE OR REPLACE FUNCTION hologres.dependents_of(rel oid, changed text[], stays boolean DEFAULT false)
    RETURNS SETOF hologres.dependent
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    seen hologres.dependent[] := '{}';
    -- objects that move, in the order in which they are looked at: class and id
    class oid[] := ARRAY['pg_class'::regclass] || ARRAY(SELECT 'pg_type'::regclass::oid FROM pg_type
        WHERE typrelid = rel OR typelem <> 0 AND typelem = (SELECT reltype FROM pg_class c WHERE c.oid = rel))::oid[];
    id oid[] := ARRAY[rel] || ARRAY(SELECT oid FROM pg_type
        WHERE typrelid = rel OR typelem <> 0 AND typelem = (SELECT reltype FROM pg_class c WHERE c.oid = rel));
    depth integer[];
    d hologres.dependent;
    had hologres.dependent;
    at integer := 0;
    n integer;
    sequence oid;
BEGIN
    IF stays THEN
        class := class[1:1];
        id := id[1:1];
    END IF;
    FOR sequence IN SELECT s.objid FROM pg_depend s JOIN pg_class q ON q.oid = s.objid AND q.relkind = 'S'
              WHERE s.classid = 'pg_class'::regclass AND s.refclassid = 'pg_class'::regclass
                AND s.refobjid = rel AND s.deptype = 'i' AND NOT stays LOOP
        class := class || 'pg_class'::regclass::oid;
        id := id || sequence;
    END LOOP;
    depth := array_fill(0, ARRAY[cardinality(id)]);
    WHILE at < cardinality(id) LOOP
        at := at + 1;
        FOR d IN SELECT * FROM hologres.direct_dependents(class[at], id[at], rel, changed) LOOP
            CONTINUE WHEN stays AND at = 1 AND d.kind <> 'new view';
            d.depth := CASE WHEN d.kind LIKE 'new %' THEN depth[at] + 1 ELSE 0 END;
            SELECT u.ordinality INTO n FROM unnest(seen) WITH ORDINALITY u
             WHERE u.class = d.class AND u.id = d.id;
            had := seen[n];
            CONTINUE WHEN n IS NOT NULL AND (d.kind NOT LIKE 'new %' OR had.kind LIKE 'new %' AND had.depth >= d.depth);
            seen[coalesce(n, cardinality(seen) + 1)] := d;
            CONTINUE WHEN d.kind NOT LIKE 'new %';
            class := class || d.class || ARRAY(SELECT 'pg_type'::regclass::oid FROM pg_class c JOIN pg_type t
                ON t.oid = c.reltype OR t.typelem = c.reltype
                WHERE d.kind = 'new view' AND c.oid = d.id AND c.reltype <> 0)::oid[];
            id := id || d.id || ARRAY(SELECT t.oid FROM pg_class c JOIN pg_type t
                ON t.oid = c.reltype OR t.typelem = c.reltype
                WHERE d.kind = 'new view' AND c.oid = d.id AND c.reltype <> 0);
            depth := depth || array_fill(d.depth, ARRAY[cardinality(id) - cardinality(depth)]);
        END LOOP;
    END LOOP;
    RETURN QUERY SELECT u.* FROM unnest(seen) u
       WHERE NOT (u.kind = 'rule' AND EXISTS (SELECT FROM unnest(seen) v JOIN pg_rewrite w ON w.ev_class = v.id
                                               WHERE v.kind = 'new view' AND w.oid = u.id));
END $$;

-- The columns that get another type: by the actions, or, once there is a copy, by what it has.
CREATE OR REPLACE FUNCTION hologres.changed_columns(rel oid, actions jsonb, copy oid DEFAULT NULL) RETURNS text[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(array_agg(DISTINCT a ->> 'column'), '{}') FROM jsonb_array_elements(actions) a
     WHERE a ->> 'do' = 'type' AND NOT EXISTS (
           SELECT FROM pg_attribute o JOIN pg_attribute n ON n.attrelid = copy AND n.attname = o.attname
            WHERE o.attrelid = rel AND o.attname = a ->> 'column'
              AND (n.atttypid, n.atttypmod, n.attcollation) = (o.atttypid, o.atttypmod, o.attcollation))
$$;

-- What can be neither replaced nor made anew.
CREATE OR REPLACE FUNCTION hologres.dependent_problems(rel oid, actions jsonb, stays boolean) RETURNS SETOF hologres.problem
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    service oid := (SELECT nspowner FROM pg_namespace WHERE nspname = 'pgveneer');
    may text := CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET'
                     ELSE 'MEMBER' END;
    d hologres.dependent;
    why text;
BEGIN
    FOR d IN SELECT * FROM hologres.dependents_of(rel, hologres.changed_columns(rel, actions), stays) ORDER BY what LOOP
        IF d.kind <> 'obstacle' AND NOT pg_has_role(service, d.owner, may) THEN
            RETURN NEXT ('42501', format('pgveneer''s service role "%s" is not a member of role "%s", which owns %s',
                pg_get_userbyid(service), pg_get_userbyid(d.owner), d.what),
                format('An administrator has to GRANT %I TO %I.', pg_get_userbyid(d.owner),
                       pg_get_userbyid(service)))::hologres.problem;
        END IF;
        IF d.kind IN ('replaced view', 'new view', 'new function', 'body') AND NOT has_schema_privilege(d.owner,
               coalesce((SELECT relnamespace FROM pg_class WHERE oid = d.id AND d.class = 'pg_class'::regclass),
                        (SELECT pronamespace FROM pg_proc WHERE oid = d.id)), 'CREATE') THEN
            RETURN NEXT ('42501', format('role "%s", which owns %s, may not create anything in its schema',
                pg_get_userbyid(d.owner), d.what), 'GRANT CREATE ON SCHEMA to it.')::hologres.problem;
        END IF;
        why := CASE WHEN d.kind = 'obstacle' THEN 'depends on the table and cannot be carried over'
                    WHEN d.kind LIKE 'new %' THEN hologres.why_not_anew(d) END;
        IF why IS NOT NULL THEN
            RETURN NEXT ('0A000', format('%s %s', d.what, why),
                         'Drop it, and create it again after the rebuild.')::hologres.problem;
        END IF;
    END LOOP;
END $$;

-- Reasons against making it anew; NULL: there are none.
CREATE OR REPLACE FUNCTION hologres.why_not_anew(d hologres.dependent) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN EXISTS (SELECT FROM pg_depend x WHERE x.classid = d.class AND x.objid = d.id AND x.deptype IN ('e', 'x')) THEN
            'belongs to an extension'
        WHEN EXISTS (SELECT FROM pg_proc p WHERE p.oid = d.id AND d.kind = 'new function'
                        AND p.prokind NOT IN ('f', 'p')) THEN 'is an aggregate or a window function that uses the row type'
        WHEN EXISTS (SELECT FROM pg_proc p, unnest(p.proconfig) s WHERE p.oid = d.id AND d.kind = 'new function'
                        AND s ~ '^(role|session_authorization)=') THEN 'uses the row type and sets a role'
        WHEN EXISTS (SELECT FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.oid = d.id
                        AND d.kind = 'new function' AND (NOT has_language_privilege(d.owner, l.oid, 'USAGE')
                             OR NOT l.lanpltrusted AND l.lanname <> 'sql' OR p.proleakproof)
                        AND NOT (SELECT rolsuper FROM pg_roles WHERE oid = d.owner)) THEN
            'uses the row type, and its owner may not create it again' END
$$;

-- Statements -----------------------------------------------------------------------------------------

-- Everybody but the owner loses what default privileges gave on a new object; PUBLIC, too. By the owner.
CREATE OR REPLACE FUNCTION hologres.strip_grants(kind text, name text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    grantee oid;
    acl aclitem[] := CASE kind WHEN 'ROUTINE' THEN (SELECT coalesce(proacl, acldefault('f', proowner)) FROM pg_proc
                                                     WHERE oid = to_regprocedure(name))
                               ELSE (SELECT relacl FROM pg_class WHERE oid = to_regclass(name)) END;
BEGIN
    FOR grantee IN SELECT DISTINCT a.grantee FROM aclexplode(acl) a WHERE a.grantee <> a.grantor LOOP
        EXECUTE format('REVOKE ALL ON %s %s FROM %s', kind, name,
                       CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION hologres.policy_expressions(p pg_policy) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
        || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')
$$;

-- Security labels of an object and, for a relation, of its columns.
CREATE OR REPLACE FUNCTION hologres.label_statements(kind text, name text, class oid, id oid) RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('SECURITY LABEL FOR %I ON %s %s IS %L', l.provider,
                  CASE l.objsubid WHEN 0 THEN kind ELSE 'COLUMN' END,
                  name || coalesce('.' || quote_ident(a.attname), ''), l.label)
      FROM pg_seclabel l LEFT JOIN pg_attribute a ON a.attrelid = id AND a.attnum = l.objsubid AND l.objsubid > 0
     WHERE l.classoid = class AND l.objoid = id ORDER BY l.objsubid, l.provider
$$;

CREATE OR REPLACE FUNCTION hologres.rule_statements(rule oid) RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
    SELECT pg_get_ruledef(rule)
    UNION ALL
    SELECT format('ALTER TABLE %s %s RULE %I', hologres.qualified_name(w.ev_class), CASE w.ev_enabled
                  WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, w.rulename)
      FROM pg_rewrite w WHERE w.oid = rule AND w.ev_enabled <> 'O'
    UNION ALL
    SELECT z FROM pg_rewrite w, hologres.comment_statement('RULE',
               format('%I ON %s', w.rulename, hologres.qualified_name(w.ev_class)), w.oid, 'pg_rewrite') z
     WHERE w.oid = rule
$$;

-- The statement with which a view reads what its tables' names mean now.
CREATE OR REPLACE FUNCTION hologres.view_statement(view oid, verb text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
    SELECT format('%s VIEW %s%s AS %s', verb, hologres.qualified_name(view),
                  coalesce(' WITH (' || array_to_string(reloptions, ', ') || ')', ''), pg_get_viewdef(view))
      FROM pg_class WHERE oid = view
$$;

-- A view that was dropped, with all that it had.
CREATE OR REPLACE FUNCTION hologres.new_view_statements(view oid) RETURNS TABLE (role text, statement text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    c pg_class := (SELECT c FROM pg_class c WHERE c.oid = view);
    name text := hologres.qualified_name(view);
    owner text := pg_get_userbyid(c.relowner);
BEGIN
    role := owner;
    statement := hologres.view_statement(view, 'CREATE');
    RETURN NEXT;
    statement := format('SELECT hologres.strip_grants(''TABLE'', %L)', name);
    RETURN NEXT;
    RETURN QUERY SELECT owner, format('ALTER VIEW %s ALTER COLUMN %I SET DEFAULT %s', name, a.attname,
                                      pg_get_expr(f.adbin, view))
      FROM pg_attrdef f JOIN pg_attribute a ON a.attrelid = view AND a.attnum = f.adnum WHERE f.adrelid = view;
    RETURN QUERY SELECT owner, z FROM pg_rewrite w, hologres.rule_statements(w.oid) z
      WHERE w.ev_class = view AND w.rulename <> '_RETURN';
    RETURN QUERY SELECT owner, pg_get_triggerdef(g.oid) FROM pg_trigger g
      WHERE g.tgrelid = view AND NOT g.tgisinternal ORDER BY g.oid;
    RETURN QUERY SELECT owner, z FROM pg_trigger g, hologres.comment_statement('TRIGGER',
                     format('%I ON %s', g.tgname, name), g.oid, 'pg_trigger') z
      WHERE g.tgrelid = view AND NOT g.tgisinternal;
    RETURN QUERY SELECT owner, z FROM hologres.comment_statement('VIEW', name, view, 'pg_class') z;
    RETURN QUERY SELECT owner, format('COMMENT ON COLUMN %s.%I IS %L', name, a.attname, col_description(view, a.attnum))
      FROM pg_attribute a WHERE a.attrelid = view AND a.attnum > 0 AND col_description(view, a.attnum) IS NOT NULL;
    RETURN QUERY SELECT owner, z FROM hologres.label_statements('VIEW', name, 'pg_class'::regclass, view) z;
    RETURN QUERY SELECT g.role, g.statement FROM hologres.grant_statements('TABLE', name, c.relowner, c.relacl, NULL) g;
    RETURN QUERY SELECT g.role, g.statement FROM pg_attribute a, hologres.grant_statements('TABLE', name,
                     c.relowner, a.attacl, NULL, format(' (%I)', a.attname)) g
      WHERE a.attrelid = view AND a.attnum > 0 AND a.attacl IS NOT NULL;
END $$;

-- Bodies are not read where they stand as text: their names are looked up when they run.
CREATE OR REPLACE FUNCTION hologres.function_statement(func oid, definition text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT 'SET LOCAL check_function_bodies = off; ' || definition $$;

CREATE OR REPLACE FUNCTION hologres.new_function_statements(func oid) RETURNS TABLE (role text, statement text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    p pg_proc := (SELECT p FROM pg_proc p WHERE p.oid = func);
    name text := (SELECT i.identity FROM pg_identify_object('pg_proc'::regclass, func, 0) i);
    owner text := pg_get_userbyid(p.proowner);
BEGIN
    role := owner;
    statement := hologres.function_statement(func, pg_get_functiondef(func));
    RETURN NEXT;
    statement := format('SELECT hologres.strip_grants(''ROUTINE'', %L)', name);
    RETURN NEXT;
    RETURN QUERY SELECT owner, z FROM hologres.comment_statement('ROUTINE', name, func, 'pg_proc') z;
    RETURN QUERY SELECT owner, z FROM hologres.label_statements('ROUTINE', name, 'pg_proc'::regclass, func) z;
    RETURN QUERY SELECT g.role, g.statement FROM hologres.grant_statements('ROUTINE', name, p.proowner,
                     coalesce(p.proacl, acldefault('f', p.proowner)), NULL) g;
END $$;

-- A function whose body holds on to nothing.
CREATE OR REPLACE FUNCTION hologres.hollow_statement(func oid) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    definition text := pg_get_functiondef(func);
BEGIN
    RETURN hologres.function_statement(func, left(definition, strpos(definition, pg_get_function_sqlbody(func)) - 1)
                                             || 'AS ''SELECT NULL''');
END $$;

-- Before the table changes: what would be in the way goes.
CREATE OR REPLACE FUNCTION hologres.release_statements(rel oid, changed text[], stays boolean DEFAULT false)
    RETURNS TABLE (role text, statement text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    d hologres.dependent;
    list hologres.dependent[] := ARRAY(SELECT x FROM hologres.dependents_of(rel, changed, stays) x ORDER BY x.depth DESC, x.id DESC);
    any_new boolean := EXISTS (SELECT FROM unnest(list) x WHERE x.kind LIKE 'new %');
BEGIN
    FOREACH d IN ARRAY list LOOP
        role := pg_get_userbyid(d.owner);
        statement := CASE
            WHEN d.kind = 'body' AND any_new THEN hologres.hollow_statement(d.id)
            WHEN d.kind = 'own policy' OR d.kind = 'policy' AND any_new THEN (
                SELECT format('ALTER POLICY %I ON %s', p.polname, hologres.qualified_name(p.polrelid))
                    || CASE WHEN p.polqual IS NULL THEN '' ELSE ' USING (false)' END
                    || CASE WHEN p.polwithcheck IS NULL THEN '' ELSE ' WITH CHECK (false)' END
                  FROM pg_policy p WHERE p.oid = d.id)
            WHEN d.kind IN ('rule', 'own rule') THEN (
                SELECT format('DROP RULE %I ON %s', w.rulename, hologres.qualified_name(w.ev_class))
                  FROM pg_rewrite w WHERE w.oid = d.id)
            WHEN d.kind = 'own trigger' THEN (
                SELECT format('DROP TRIGGER %I ON %s', g.tgname, hologres.qualified_name(g.tgrelid))
                  FROM pg_trigger g WHERE g.oid = d.id) END;
        IF statement IS NOT NULL THEN
            RETURN NEXT;
        END IF;
    END LOOP;
    FOREACH d IN ARRAY list LOOP
        CONTINUE WHEN d.kind NOT LIKE 'new %';
        role := pg_get_userbyid(d.owner);
        statement := CASE d.kind WHEN 'new view' THEN 'DROP VIEW ' || hologres.qualified_name(d.id)
            ELSE 'DROP ROUTINE ' || (SELECT i.identity FROM pg_identify_object('pg_proc'::regclass, d.id, 0) i) END;
        RETURN NEXT;
    END LOOP;
END $$;

-- Once the table has its name and columns: what was dropped, in the order in which it can be made.
CREATE OR REPLACE FUNCTION hologres.renew_statements(rel oid, changed text[], stays boolean DEFAULT false)
    RETURNS TABLE (role text, statement text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d hologres.dependent;
BEGIN
    FOR d IN SELECT * FROM hologres.dependents_of(rel, changed, stays) x WHERE x.kind LIKE 'new %'
              ORDER BY x.depth, x.id LOOP
        IF d.kind = 'new view' THEN
            RETURN QUERY SELECT * FROM hologres.new_view_statements(d.id);
        ELSE
            RETURN QUERY SELECT * FROM hologres.new_function_statements(d.id);
        END IF;
    END LOOP;
END $$;

-- In the end: what is written again in its place.
CREATE OR REPLACE FUNCTION hologres.rewrite_statements(rel oid, changed text[], stays boolean DEFAULT false)
    RETURNS TABLE (role text, statement text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    d hologres.dependent;
BEGIN
    FOR d IN SELECT * FROM hologres.dependents_of(rel, changed, stays) x ORDER BY x.kind DESC, x.id LOOP
        role := pg_get_userbyid(d.owner);
        CASE d.kind
        WHEN 'replaced view' THEN
            statement := hologres.view_statement(d.id, 'CREATE OR REPLACE');
            RETURN NEXT;
        WHEN 'body' THEN
            statement := hologres.function_statement(d.id, pg_get_functiondef(d.id));
            RETURN NEXT;
        WHEN 'policy' THEN
            SELECT format('ALTER POLICY %I ON %s%s', p.polname, hologres.qualified_name(p.polrelid),
                          hologres.policy_expressions(p)) INTO statement FROM pg_policy p WHERE p.oid = d.id;
            RETURN NEXT;
        WHEN 'rule' THEN
            RETURN QUERY SELECT pg_get_userbyid(d.owner)::text, z FROM hologres.rule_statements(d.id) z;
        ELSE
            NULL;
        END CASE;
    END LOOP;
END $$;

-- Is there a meaning with the new types? --------------------------------------------------------------

-- What a definition says when its schemas are on the search_path: then the names in them stand alone.
CREATE OR REPLACE FUNCTION hologres.text_in(path text, d hologres.dependent) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    definition text;
    name text;
    p pg_policy;
BEGIN
    PERFORM set_config('search_path', path || ', pg_temp', true);
    CASE d.kind
    WHEN 'body' THEN
        definition := pg_catalog.pg_get_functiondef(d.id);
    WHEN 'own rule' THEN
        definition := pg_catalog.pg_get_ruledef(d.id, true);
    WHEN 'own trigger' THEN
        definition := pg_catalog.pg_get_triggerdef(d.id, true);
    WHEN 'own policy' THEN
        p := (SELECT x FROM pg_catalog.pg_policy x WHERE x.oid OPERATOR(pg_catalog.=) d.id);
        definition := hologres.policy_expressions(p);
    ELSE
        definition := pg_catalog.pg_get_viewdef(d.id);
    END CASE;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    CASE d.kind
    WHEN 'body' THEN
        SELECT format('%I.%I', n.nspname, f.proname) INTO name FROM pg_proc f JOIN pg_namespace n
            ON n.oid = f.pronamespace WHERE f.oid = d.id;
        RETURN overlay(definition PLACING 'pg_temp.tmp_rebuild_trial' FROM strpos(definition, name) FOR length(name));
    WHEN 'own policy' THEN
        RETURN format('CREATE POLICY %I ON %I', p.polname, (SELECT relname FROM pg_class WHERE oid = p.polrelid))
            || CASE p.polcmd WHEN 'a' THEN ' FOR INSERT' ELSE '' END || definition;
    WHEN 'own rule', 'own trigger' THEN
        RETURN definition;
    ELSE
        RETURN format('CREATE TEMPORARY VIEW %I AS %s', (SELECT relname FROM pg_class WHERE oid = d.id), definition);
    END CASE;
END $$;

-- Reads the definitions once more where the table of the same name is `probe`, a temporary one that has the new
-- types; whoever calls takes back what it makes. Names that the caller may not see, or that are there twice,
-- prove nothing; neither do functions of the row type, since the probe has another one.
CREATE OR REPLACE FUNCTION hologres.try_dependents(rel oid, probe oid, actions jsonb) RETURNS SETOF hologres.problem
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    list hologres.dependent[] := ARRAY(SELECT d FROM hologres.dependents_of(rel, hologres.changed_columns(rel, actions, probe)) d
                                        ORDER BY d.depth = 0, d.depth, d.kind DESC, d.id);
    path text := (SELECT string_agg(quote_ident(nspname), ', ' ORDER BY n.oid <> c.relnamespace, n.oid)
                    FROM pg_class c, pg_namespace n WHERE c.oid = rel AND (n.oid = c.relnamespace OR n.oid IN (
                         SELECT v.relnamespace FROM unnest(list) d JOIN pg_class v ON v.oid = d.id
                          WHERE d.class = 'pg_class'::regclass)));
    d hologres.dependent;
BEGIN
    list := list || ARRAY(
        SELECT ('pg_rewrite'::regclass, oid, 'own rule', 0, 0, format('rule "%s"', rulename))::hologres.dependent
          FROM pg_rewrite WHERE ev_class = rel
        UNION ALL SELECT ('pg_policy'::regclass, oid, 'own policy', 0, 0, format('policy "%s"', polname))::hologres.dependent
          FROM pg_policy WHERE polrelid = rel
        UNION ALL SELECT ('pg_trigger'::regclass, oid, 'own trigger', 0, 0, format('trigger "%s"', tgname))::hologres.dependent
          FROM pg_trigger g WHERE tgrelid = rel AND NOT tgisinternal AND tgname NOT LIKE 'tmp\_rebuild\_%');
    FOREACH d IN ARRAY list LOOP
        CONTINUE WHEN d.kind NOT IN ('replaced view', 'new view', 'body', 'own rule', 'own policy', 'own trigger');
        DECLARE
            statement text := hologres.text_in(path, d);
        BEGIN
            PERFORM set_config('search_path', 'pg_temp, ' || path, true);
            EXECUTE statement;
            PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        EXCEPTION WHEN OTHERS THEN
            PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
            IF SQLSTATE NOT IN ('42501', '42P01', '42P07', '3F000') AND NOT (SQLSTATE = '42883' AND EXISTS (
                   SELECT FROM unnest(list) f JOIN pg_proc p ON p.oid = f.id
                    WHERE f.kind = 'new function' AND strpos(SQLERRM, p.proname || '(') > 0)) THEN
                RETURN NEXT (SQLSTATE, format('%s: %s', d.what, SQLERRM),
                             'Drop it, and create it again after the rebuild.')::hologres.problem;
            END IF;
        END;
    END LOOP;
END $$;

-- Foreign keys -----------------------------------------------------------------------------------------

-- Those of columns that are added. Their tables are looked up as the author's session would.
CREATE OR REPLACE FUNCTION hologres.added_keys(actions jsonb, path text)
    RETURNS TABLE (column_name text, name text, other oid, shown text, clause text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    r jsonb;
BEGIN
    FOR column_name, r IN SELECT a ->> 'column', a -> 'references' FROM jsonb_array_elements(actions) a
                           WHERE a ->> 'do' = 'add' AND a ? 'references' LOOP
        name := r ->> 'name';
        clause := r ->> 'clause';
        shown := (SELECT string_agg(quote_ident(p), '.' ORDER BY n)
                    FROM jsonb_array_elements_text(r -> 'table') WITH ORDINALITY e(p, n));
        PERFORM set_config('search_path', concat_ws(', ', nullif(path, ''), 'pg_temp'), true);
        other := pg_catalog.to_regclass(shown);
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        RETURN NEXT;
    END LOOP;
END $$;

-- As ALTER TABLE … ADD CONSTRAINT takes them. parted: they are first added to the partitions.
CREATE OR REPLACE FUNCTION hologres.added_key_definitions(rel oid, target text, actions jsonb, path text)
    RETURNS TABLE (name text, definition text, parted boolean)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(k.name, (SELECT f FROM (
               SELECT hologres.own_name(rel, ARRAY[k.column_name], 'fkey' || coalesce(nullif(n, 0)::text, '')) AS f
                 FROM generate_series(0, 99) n) AS free
             WHERE NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = rel AND c.conname = f) LIMIT 1)),
           format('FOREIGN KEY (%I) REFERENCES %s %s', k.column_name,
                  CASE k.other WHEN rel THEN target ELSE hologres.qualified_name(k.other) END, k.clause),
           hologres.partition_way(rel, actions) IS NOT NULL
               AND current_setting('server_version_num')::integer < 180000
      FROM hologres.added_keys(actions, path) k
$$;

-- Proved after the table has them: a proof takes as long as reading the table.
CREATE OR REPLACE FUNCTION hologres.added_key_statements(rel oid, target text, actions jsonb, path text) RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN k.parted THEN format('SELECT hologres.add_leaf_keys(%L, %L, %L)', target, k.name, k.definition)
           ELSE format('ALTER TABLE %s ADD CONSTRAINT %I %s NOT VALID', target, k.name, k.definition) END
      FROM hologres.added_key_definitions(rel, target, actions, path) k
$$;

-- Before PostgreSQL 18 a foreign key of a partitioned table cannot be added without proof, but those of its partitions
-- can. Once these are proved, that of the parent takes them over without reading a row. By the owner.
CREATE OR REPLACE FUNCTION hologres.add_leaf_keys(parent text, name text, definition text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    leaf oid;
BEGIN
    FOR leaf IN SELECT t.relid FROM pg_partition_tree(to_regclass(parent)) t WHERE t.isleaf AND t.level > 0 LOOP
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s NOT VALID', hologres.qualified_name(leaf), name, definition);
    END LOOP;
END $$;

-- Tries a foreign key between empty tables: `probe`, which is as the table will be, and one like the other table,
-- on whose side the statement stands or not. Nothing of it stays. NULL: PostgreSQL takes it, or nothing is known.
CREATE OR REPLACE FUNCTION hologres.try_key(probe oid, other oid, is_self boolean, statement text) RETURNS hologres.problem
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
BEGIN
    IF NOT is_self THEN
        EXECUTE format('CREATE TEMPORARY TABLE tmp_rebuild_other (LIKE %s INCLUDING INDEXES)',
                       hologres.qualified_name(other));
    END IF;
    EXECUTE format(statement, hologres.qualified_name(probe),
                   CASE WHEN is_self THEN hologres.qualified_name(probe) ELSE 'pg_temp.tmp_rebuild_other' END);
    RAISE EXCEPTION USING ERRCODE = 'HG000';
EXCEPTION
    WHEN SQLSTATE 'HG000' OR SQLSTATE '42501' THEN
        RETURN NULL;
    WHEN OTHERS THEN
        RETURN (SQLSTATE, replace(replace(SQLERRM, 'tmp_rebuild_other', (SELECT relname FROM pg_class WHERE oid = other)),
                'tmp_rebuild_probe', (SELECT relname FROM pg_class WHERE oid = probe)), '')::hologres.problem;
END $$;

-- The foreign keys that the table will have, both ways, as far as the actions concern them.
CREATE OR REPLACE FUNCTION hologres.try_keys(rel oid, probe oid, actions jsonb, path text) RETURNS SETOF hologres.problem
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    changed text[] := hologres.changed_columns(rel, actions, probe);
    new_key boolean := EXISTS (SELECT FROM jsonb_array_elements(actions) a WHERE a ->> 'do' = 'primary_key');
    k record;
    p hologres.problem;
BEGIN
    FOR k IN SELECT * FROM hologres.added_keys(actions, path) WHERE other IS NOT NULL LOOP
        p := hologres.try_key(probe, k.other, k.other = rel, format('ALTER TABLE %%s ADD FOREIGN KEY (%s) REFERENCES %%s %s',
                              replace(quote_ident(k.column_name), '%', '%%'), replace(k.clause, '%', '%%')));
        IF p IS NOT NULL THEN
            RETURN NEXT p;
        END IF;
    END LOOP;
    FOR k IN
        SELECT f.*, f.conrelid = rel AS is_out, c.own, c.others
          FROM pg_constraint f, LATERAL (
               SELECT string_agg(period || quote_ident(a.attname), ', ' ORDER BY n) FILTER (WHERE a.attrelid = f.conrelid) AS own,
                      string_agg(period || quote_ident(a.attname), ', ' ORDER BY n) FILTER (WHERE a.attrelid = f.confrelid) AS others,
                      bool_or(a.attrelid = rel AND a.attname = ANY (changed)) AS is_changed
                 FROM (SELECT f.conrelid AS r, unnest(f.conkey) AS key, generate_subscripts(f.conkey, 1) AS n, true AS first
                       UNION ALL SELECT f.confrelid, unnest(f.confkey), generate_subscripts(f.confkey, 1), false) x
                 JOIN pg_attribute a ON a.attrelid = x.r AND a.attnum = x.key,
                      LATERAL (SELECT CASE WHEN (to_jsonb(f) ->> 'conperiod')::boolean AND n = cardinality(f.conkey)
                                      THEN 'PERIOD ' ELSE '' END AS period) p) c -- PostgreSQL 18
         WHERE f.contype = 'f' AND (f.conrelid = rel OR f.confrelid = rel) AND f.conparentid = 0
           AND f.conrelid <> f.confrelid AND (c.is_changed OR new_key AND f.confrelid = rel) LOOP
        p := hologres.try_key(probe, CASE WHEN k.is_out THEN k.confrelid ELSE k.conrelid END, false,
                 CASE WHEN k.is_out THEN 'ALTER TABLE %1$s ADD FOREIGN KEY (' ELSE 'ALTER TABLE %2$s ADD FOREIGN KEY (' END
                 || replace(k.own, '%', '%%') || CASE WHEN k.is_out THEN ') REFERENCES %2$s (' ELSE ') REFERENCES %1$s (' END
                 || replace(k.others, '%', '%%') || ')');
        IF p IS NOT NULL THEN
            RETURN NEXT (p.code, format('foreign key "%s": %s', k.conname, p.message),
                         'Drop it, and add it again after the rebuild.')::hologres.problem;
        END IF;
    END LOOP;
END $$;

-- What the catalogs say of them.
CREATE OR REPLACE FUNCTION hologres.key_problems_of(rel oid, actions jsonb, path text) RETURNS SETOF hologres.problem
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c pg_class := (SELECT c FROM pg_class c WHERE c.oid = rel);
    k record;
BEGIN
    FOR k IN SELECT a.*, o.relkind, o.relpersistence FROM hologres.added_keys(actions, path) a
              LEFT JOIN pg_class o ON o.oid = a.other LOOP
        IF k.other IS NULL THEN
            RETURN NEXT ('42P01', format('relation "%s" does not exist', k.shown), '')::hologres.problem;
        ELSIF k.relkind NOT IN ('r', 'p') THEN
            RETURN NEXT ('42809', format('referenced relation "%s" is not a table', k.shown), '')::hologres.problem;
        ELSIF c.relpersistence = 'p' AND k.relpersistence <> 'p' THEN
            RETURN NEXT ('42P16', 'constraints on permanent tables may reference only permanent tables',
                         '')::hologres.problem;
        ELSIF NOT has_any_column_privilege(c.relowner, k.other, 'REFERENCES') THEN
            RETURN NEXT ('42501', format('permission denied for table %s', k.shown),
                         format('Its owner has to GRANT REFERENCES to %I.', pg_get_userbyid(c.relowner)))::hologres.problem;
        END IF;
    END LOOP;
    -- who refers to the primary key needs another unique index on its columns
    FOR k IN
        SELECT f.conname FROM pg_constraint f
          JOIN pg_constraint p ON p.conrelid = rel AND p.contype = 'p' AND p.conindid = f.conindid
         WHERE f.confrelid = rel AND f.contype = 'f' AND f.conparentid = 0
           AND EXISTS (SELECT FROM jsonb_array_elements(actions) a WHERE a ->> 'do' = 'primary_key')
           AND NOT EXISTS (
               SELECT FROM pg_index x WHERE x.indrelid = rel AND x.indisunique AND NOT x.indisprimary
                  AND x.indimmediate AND x.indisvalid AND x.indpred IS NULL AND x.indexprs IS NULL
                  AND ARRAY(SELECT unnest((x.indkey::int2[])[0:x.indnkeyatts - 1]) ORDER BY 1)
                    = ARRAY(SELECT unnest(f.confkey) ORDER BY 1))
           AND NOT EXISTS (
               SELECT FROM (SELECT a -> 'columns' AS columns FROM jsonb_array_elements(actions) WITH ORDINALITY e(a, n)
                             WHERE a ->> 'do' = 'primary_key' ORDER BY n DESC LIMIT 1) AS last
                WHERE ARRAY(SELECT jsonb_array_elements_text(columns) ORDER BY 1)
                    = ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = rel AND attnum = ANY (f.confkey) ORDER BY 1))
    LOOP
        RETURN NEXT ('0A000', format('foreign key "%s" refers to the primary key', k.conname),
                     'Drop it first, or add a unique constraint on the same columns, and it is kept.')::hologres.problem;
    END LOOP;
END $$;

-- In place -----------------------------------------------------------------------------------------------

-- Views in the way of a type go before the table is changed, and come back behind.
CREATE OR REPLACE FUNCTION hologres.in_place_locks(id text) RETURNS SETOF text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
    (SELECT format('ALTER VIEW %s OWNER TO %I', hologres.qualified_name(d.id), pg_get_userbyid(d.owner))
       FROM hologres.rebuild r, hologres.dependents_of(r.relid, hologres.task_changes(r.query_id), true) d
      WHERE r.query_id = in_place_locks.id AND d.kind = 'new view' ORDER BY d.depth DESC, d.id DESC)
    UNION ALL
    SELECT format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', hologres.qualified_name(relid))
      FROM hologres.rebuild WHERE query_id = id
$$;
CREATE OR REPLACE FUNCTION hologres.in_place_before(id text) RETURNS TABLE (role text, statement text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.* FROM hologres.rebuild r, hologres.release_statements(r.relid, hologres.task_changes(id), true) s
     WHERE r.query_id = id
$$;
CREATE OR REPLACE FUNCTION hologres.in_place_behind(id text) RETURNS TABLE (role text, statement text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rel oid := (SELECT relid FROM hologres.rebuild WHERE query_id = id);
BEGIN
    RETURN QUERY SELECT * FROM hologres.renew_statements(rel, hologres.task_changes(id), true);
    RETURN QUERY SELECT * FROM hologres.rewrite_statements(rel, hologres.task_changes(id), true);
END $$;
REVOKE ALL ON FUNCTION hologres.in_place_locks(text), hologres.in_place_before(text), hologres.in_place_behind(text)
    FROM PUBLIC;
