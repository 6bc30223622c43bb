-- hudi_sync_task_submit: DWS manual, "Synchronizing Hudi Tasks" and "Hudi System Functions"; spec/hudi.md
-- section 1.3, spec/decisions.md "SQL on Hudi".
--
-- A submit is an INSERT of three columns by the caller himself. The guard of that INSERT, and
-- nothing else, decides whether it is a task, so an INSERT written by hand gets no further.
-- Arguments that name tables are regclass: literals, text and varchar all become that by implicit
-- casts, with the caller's search_path.

-- What can be synchronized with what ---------------------------------------------------------------

CREATE FUNCTION pgveneer.relation_name(rel oid) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := pgveneer.qualified_name(rel);
BEGIN
    IF name IS NULL THEN
        RAISE EXCEPTION 'relation with OID % does not exist', coalesce(rel, 0)
            USING ERRCODE = '42P01';
    END IF;
    RETURN name;
END $$;

CREATE FUNCTION pgveneer.check_hudi_target(target oid) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := pgveneer.relation_name(target);
    c pg_class := (SELECT c FROM pg_class c WHERE c.oid = target);
BEGIN
    IF c.relkind NOT IN ('r', 'p') OR c.relpersistence = 't' THEN
        RAISE EXCEPTION 'cannot synchronize into "%"', name
            USING ERRCODE = '42809',
                  DETAIL = CASE WHEN c.relpersistence = 't' THEN 'It is a temporary table.'
                                ELSE 'It is not a table.' END,
                  HINT = 'The target is an ordinary or partitioned table with a primary key.';
    END IF;
    IF c.relnamespace::regnamespace::text IN
           ('pg_catalog', 'pg_toast', 'information_schema', 'pgveneer', 'hudi') THEN
        RAISE EXCEPTION 'cannot synchronize into system table "%"', name USING ERRCODE = '42809';
    END IF;
    IF NOT (has_table_privilege(target, 'INSERT') AND has_table_privilege(target, 'UPDATE')) THEN
        RAISE EXCEPTION 'permission denied for table %', c.relname
            USING ERRCODE = '42501',
                  DETAIL = format('INSERT and UPDATE on target table "%s" are needed.', name);
    END IF;
    IF row_security_active(target) THEN
        RAISE EXCEPTION 'cannot synchronize into "%"', name
            USING ERRCODE = '0A000',
                  DETAIL = 'Its row-level security applies to the role that submits the task.';
    END IF;
    IF EXISTS (SELECT FROM pg_rewrite WHERE ev_class = target AND ev_type IN ('2', '3', '4')) THEN
        RAISE EXCEPTION 'cannot synchronize into "%"', name
            USING ERRCODE = '0A000', DETAIL = 'It has rules for INSERT, UPDATE or DELETE.';
    END IF;
END $$;

-- Runs write as the owner of the target, so the service role, which owns our schema, has to be able
-- to become that role (with the SET option from PostgreSQL 16 on).
CREATE FUNCTION pgveneer.check_hudi_service(target oid) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    service oid := (SELECT nspowner FROM pg_namespace WHERE nspname = 'pgveneer');
    owner oid := (SELECT relowner FROM pg_class WHERE oid = target);
    may text := CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET'
                     ELSE 'MEMBER' END;
BEGIN
    IF NOT pg_has_role(service, owner, may) THEN
        RAISE EXCEPTION 'pgveneer may not write to table "%"', pgveneer.qualified_name(target)
            USING ERRCODE = '42501',
                  DETAIL = format('Its service role "%s" is not a member of role "%s", which owns '
                                  'the table.', pg_get_userbyid(service), pg_get_userbyid(owner)),
                  HINT = format('An administrator has to GRANT %I TO %I.', pg_get_userbyid(owner),
                                pg_get_userbyid(service));
    END IF;
END $$;

CREATE FUNCTION pgveneer.check_hudi_source(source oid) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := pgveneer.relation_name(source);
BEGIN
    IF NOT pgveneer.is_hudi_relation(source) THEN
        RAISE EXCEPTION '"%" is not a Hudi foreign table', name
            USING ERRCODE = '42809',
                  HINT = 'Create one with CREATE FOREIGN TABLE ... SERVER ... OPTIONS '
                         '(format ''hudi'', foldername ''/.../'').';
    END IF;
    IF NOT has_table_privilege(source, 'SELECT') THEN
        RAISE EXCEPTION 'permission denied for foreign table %', name
            USING ERRCODE = '42501', DETAIL = 'SELECT on the foreign table is needed.';
    END IF;
END $$;

-- 'a, "B c", d' as names: folded unless quoted, with "" or \" for a quote inside quotes.
CREATE FUNCTION pgveneer.split_columns(list text) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- one name, and what separates it from the next; E'', for sessions that have
    -- standard_conforming_strings off
    item constant text := E'^\\s*(?:"((?:[^"\\\\]|""|\\\\.)*)"|([^\\s",.;()''\\\\]+))\\s*(,|$)';
    rest text := list;
    m text[];
    names text[] := '{}';
BEGIN
    LOOP
        m := regexp_match(rest, item);
        IF m IS NULL OR m[1] = '' THEN
            RAISE EXCEPTION 'invalid column list: "%"', list
                USING ERRCODE = '22023',
                      HINT = 'Write names separated by commas, in double quotes where SQL needs them.';
        END IF;
        names := names || CASE WHEN m[1] IS NULL THEN lower(m[2])
                               ELSE regexp_replace(replace(m[1], '""', '"'), E'\\\\(.)',
                                                   E'\\1', 'g') END;
        EXIT WHEN m[3] = '';
        rest := regexp_replace(rest, item, '');
    END LOOP;
    IF (SELECT count(DISTINCT n) FROM unnest(names) n) < cardinality(names) THEN
        RAISE EXCEPTION 'a column is named twice in "%"', list USING ERRCODE = '42701';
    END IF;
    RETURN names;
END $$;

-- [["target column", "source column"], …], or NULL without lists.
CREATE FUNCTION pgveneer.pair_columns(target_columns text, source_columns text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t text[];
    s text[];
BEGIN
    IF target_columns IS NULL AND source_columns IS NULL THEN
        RETURN NULL;
    END IF;
    t := pgveneer.split_columns(coalesce(target_columns, ''));
    s := pgveneer.split_columns(coalesce(source_columns, ''));
    IF cardinality(t) <> cardinality(s) THEN
        RAISE EXCEPTION 'column lists differ in length'
            USING ERRCODE = '22023',
                  DETAIL = format('There are %s target columns and %s source columns.',
                                  cardinality(t), cardinality(s));
    END IF;
    RETURN (SELECT jsonb_agg(jsonb_build_array(t[i], s[i]) ORDER BY i)
              FROM generate_subscripts(t, 1) i);
END $$;

-- Columns as a task of this target and source will carry them out; without a list all columns of
-- the target that PostgreSQL does not compute.
CREATE FUNCTION pgveneer.hudi_pairs(target oid, source oid, columns jsonb)
    RETURNS TABLE (target_column text, source_column text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p ->> 0, p ->> 1 FROM jsonb_array_elements(columns) p
    UNION ALL
    SELECT a.attname, a.attname FROM pg_attribute a
     WHERE columns IS NULL AND a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped
       AND a.attgenerated = ''
       AND (a.attidentity <> 'a' OR EXISTS (
            SELECT FROM pgveneer.foreign_table f, jsonb_array_elements(f.columns) c
             WHERE f.relid = source AND c ->> 'name' = a.attname))
$$;

CREATE FUNCTION pgveneer.check_hudi_columns(target oid, source oid, columns jsonb) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target_name text := pgveneer.qualified_name(target);
    source_name text := pgveneer.qualified_name(source);
    has jsonb := (SELECT f.columns FROM pgveneer.foreign_table f WHERE f.relid = source);
    pair record;
BEGIN
    FOR pair IN SELECT p.*, a.attnum, a.attgenerated, a.attidentity
                  FROM pgveneer.hudi_pairs(target, source, columns) p
                  LEFT JOIN pg_attribute a ON a.attrelid = target AND a.attname = p.target_column
                                          AND a.attnum > 0 AND NOT a.attisdropped LOOP
        IF pair.attnum IS NULL THEN
            RAISE EXCEPTION 'column "%" of relation "%" does not exist', pair.target_column, target_name
                USING ERRCODE = '42703';
        ELSIF pair.attgenerated <> '' THEN
            RAISE EXCEPTION 'cannot synchronize into column "%"', pair.target_column
                USING ERRCODE = '428C9',
                      DETAIL = format('Column "%s" is a generated column.', pair.target_column);
        ELSIF pair.attidentity = 'a' THEN
            RAISE EXCEPTION 'cannot synchronize into column "%"', pair.target_column
                USING ERRCODE = '428C9',
                      DETAIL = format('Column "%s" is an identity column defined as GENERATED ALWAYS.',
                                      pair.target_column),
                      HINT = 'ALTER TABLE ... ALTER COLUMN ... SET GENERATED BY DEFAULT allows it.';
        ELSIF NOT has @> jsonb_build_array(jsonb_build_object('name', pair.source_column)) THEN
            RAISE EXCEPTION 'column "%" of foreign table "%" does not exist',
                            pair.source_column, source_name
                USING ERRCODE = '42703',
                      HINT = 'Columns that differ can be named: hudi_sync_task_submit(target, '
                             'foreign table, ''target columns'', ''source columns'').';
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION pgveneer.check_hudi_key(target oid, source oid, columns jsonb) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := pgveneer.qualified_name(target);
    key_columns text[];
    columns_of_task text[];
    immediate boolean;
    missing text;
BEGIN
    SELECT array_agg(a.attname::text ORDER BY a.attnum), bool_and(i.indimmediate)
      INTO key_columns, immediate
      FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (
               (i.indkey::int2[])[0:i.indnkeyatts - 1])
     WHERE i.indrelid = target AND i.indisprimary AND i.indisvalid;
    IF key_columns IS NULL THEN
        RAISE EXCEPTION 'table "%" has no primary key', name
            USING ERRCODE = '42P16',
                  HINT = 'The target needs a primary key that is the record key of the Hudi table.';
    ELSIF NOT immediate THEN
        RAISE EXCEPTION 'primary key of table "%" is deferrable', name
            USING ERRCODE = '55000', HINT = 'The target needs one that is not.';
    END IF;
    SELECT array_agg(p.target_column) INTO columns_of_task
      FROM pgveneer.hudi_pairs(target, source, columns) p;
    SELECT k INTO missing FROM unnest(key_columns) k WHERE k <> ALL (columns_of_task) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'primary key column "%" of table "%" is not synchronized', missing, name
            USING ERRCODE = '42P16',
                  DETAIL = format('The primary key is (%s).', array_to_string(key_columns, ', '));
    ELSIF cardinality(columns_of_task) = cardinality(key_columns) THEN
        RAISE EXCEPTION 'only key columns of table "%" are synchronized', name
            USING ERRCODE = '42P16',
                  HINT = 'The target needs a column besides its primary key.';
    END IF;
END $$;

-- Tasks --------------------------------------------------------------------------------------------

CREATE UNIQUE INDEX task_hudi_target ON pgveneer.task ((params ->> 'target_oid'))
    WHERE category = 'SQLonHudi';

-- The call that would do one run by hand, with the present names.
CREATE FUNCTION pgveneer.hudi_what(params jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN jsonb_typeof(params -> 'columns') = 'array' THEN
               format('call pg_catalog.hudi_sync_custom(%L, %L, %L);', target, source,
                      '{' || (SELECT string_agg((p -> 0)::text || ' : ' || (p -> 1)::text, ', ' ORDER BY n)
                                FROM jsonb_array_elements(params -> 'columns')
                                     WITH ORDINALITY e(p, n)) || '}')
           ELSE format('call pg_catalog.hudi_sync(%L, %L);', target, source) END
      FROM (SELECT coalesce(pgveneer.qualified_name((params ->> 'target_oid')::oid),
                            params ->> 'target') AS target,
                   coalesce(pgveneer.qualified_name((params ->> 'ftable_oid')::oid),
                            params ->> 'source') AS source) AS names
$$;
CREATE OR REPLACE FUNCTION pgveneer.task_what(category text, params jsonb, what text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE category WHEN 'SQLonHudi' THEN pgveneer.hudi_what(params) ELSE what END $$;

-- The task on a target and its state, whoever submitted it: a definer. It tells no more than an
-- error does.
CREATE FUNCTION pgveneer.hudi_task_on(target oid, OUT id text, OUT source oid, OUT state text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT task_id, (params ->> 'ftable_oid')::oid, t.state FROM pgveneer.task t
     WHERE category = 'SQLonHudi' AND params ->> 'target_oid' = target::text
$$;

CREATE FUNCTION pgveneer.hudi_refuse_second(target oid) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id text := (pgveneer.hudi_task_on(target)).id;
BEGIN
    IF id IS NOT NULL THEN
        RAISE EXCEPTION 'table "%" is already synchronized by task "%"',
                        pgveneer.qualified_name(target), id
            USING ERRCODE = '42710', HINT = 'Remove that task with pg_task_remove first.';
    END IF;
END $$;

CREATE FUNCTION pgveneer.hudi_task_guard() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target oid := NEW.params ->> 'target_oid';
    source oid := NEW.params ->> 'ftable_oid';
    columns jsonb := nullif(NEW.params -> 'columns', 'null');
BEGIN
    PERFORM pgveneer.check_hudi_sync_table();
    PERFORM pgveneer.check_hudi_target(target);
    PERFORM pgveneer.check_hudi_source(source);
    PERFORM pgveneer.hudi_refuse_second(target);
    PERFORM pgveneer.check_hudi_service(target);
    PERFORM pgveneer.check_hudi_columns(target, source, columns);
    PERFORM pgveneer.check_hudi_key(target, source, columns);
    PERFORM pgveneer.check_task_interval(NEW.run_every);
    -- NULL stands for all columns, also later ones; not if some must be left out
    IF columns IS NULL AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = target
                                      AND a.attidentity = 'a' AND NOT a.attisdropped) THEN
        columns := (SELECT jsonb_agg(jsonb_build_array(p.target_column, p.source_column))
                      FROM pgveneer.hudi_pairs(target, source, NULL) p);
    END IF;
    NEW.params := jsonb_build_object('target_oid', target::bigint, 'ftable_oid', source::bigint,
        'target', pgveneer.qualified_name(target), 'source', pgveneer.qualified_name(source),
        'columns', (SELECT jsonb_agg(jsonb_build_array(p ->> 0, p ->> 1) ORDER BY n)
                      FROM jsonb_array_elements(columns) WITH ORDINALITY e(p, n)));
    NEW.what := pgveneer.hudi_what(NEW.params);
    RETURN NEW;
END $$;
CREATE TRIGGER hudi_task_guard BEFORE INSERT ON pgveneer.task
    FOR EACH ROW WHEN (NEW.category = 'SQLonHudi') EXECUTE FUNCTION pgveneer.hudi_task_guard();
CREATE POLICY task_hudi ON pgveneer.task FOR INSERT
    WITH CHECK (category = 'SQLonHudi' AND owner = pgveneer.current_user_oid());

CREATE FUNCTION pgveneer.hudi_submit(target oid, source oid, target_columns text,
                                     source_columns text, every interval) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    columns jsonb := pgveneer.pair_columns(target_columns, source_columns);
    id text;
    position text;
BEGIN
    BEGIN
        INSERT INTO pgveneer.task (category, params, run_every)
        VALUES ('SQLonHudi', jsonb_build_object('target_oid', target, 'ftable_oid', source,
                                                'columns', columns), every)
        RETURNING task_id INTO id;
    EXCEPTION WHEN unique_violation THEN -- another session was quicker
        PERFORM pgveneer.hudi_refuse_second(target);
        RAISE;
    END;
    SELECT p.latest_commit INTO position FROM hudi.hudi_sync_state p
     WHERE p.target_oid = target AND p.source_oid = source;
    IF position IS NOT NULL THEN
        RAISE NOTICE 'synchronization of "%" continues from %', pgveneer.qualified_name(target),
                     position;
    END IF;
    RETURN id;
END $$;

-- The vendor's forms. An interval is also taken as text, for drivers that send every string as text
-- or varchar: there is no implicit cast to interval.
CREATE FUNCTION pgveneer.hudi_sync_task_submit(target regclass, ftable regclass) RETURNS text
    LANGUAGE sql VOLATILE
AS $$ SELECT pgveneer.hudi_submit($1, $2, NULL, NULL, '10 seconds') $$;
CREATE FUNCTION pgveneer.hudi_sync_task_submit(target regclass, ftable regclass,
                                               "interval" interval) RETURNS text
    LANGUAGE sql VOLATILE
AS $$ SELECT pgveneer.hudi_submit($1, $2, NULL, NULL, $3) $$;
CREATE FUNCTION pgveneer.hudi_sync_task_submit(target regclass, ftable regclass,
                                               "interval" text) RETURNS text
    LANGUAGE sql VOLATILE
AS $$ SELECT pgveneer.hudi_submit($1, $2, NULL, NULL, $3::pg_catalog.interval) $$;
CREATE FUNCTION pgveneer.hudi_sync_task_submit(target regclass, ftable regclass,
                                               target_columns text, source_columns text)
    RETURNS text LANGUAGE sql VOLATILE
AS $$ SELECT pgveneer.hudi_submit($1, $2, $3, $4, '10 seconds') $$;
CREATE FUNCTION pgveneer.hudi_sync_task_submit(target regclass, ftable regclass,
                                               target_columns text, source_columns text,
                                               "interval" interval)
    RETURNS text LANGUAGE sql VOLATILE
AS $$ SELECT pgveneer.hudi_submit($1, $2, $3, $4, $5) $$;
CREATE FUNCTION pgveneer.hudi_sync_task_submit(target regclass, ftable regclass,
                                               target_columns text, source_columns text,
                                               "interval" text)
    RETURNS text LANGUAGE sql VOLATILE
AS $$ SELECT pgveneer.hudi_submit($1, $2, $3, $4, $5::pg_catalog.interval) $$;
