-- CREATE, ALTER and DROP FOREIGN TABLE on Hudi servers: DWS manual, "CREATE FOREIGN TABLE (SQL on OBS
-- or Hadoop)"; spec/hudi.md section 1.1. The gate parses the statement and calls these.
--
-- Names and types in these statements are found with the caller's search_path, so the procedures
-- have no SET of it. They do as little as possible themselves: what thinks is called, and has one.

-- The options and columns of a foreign table, whoever writes the row.
CREATE FUNCTION pgveneer.foreign_table_guard() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pgveneer.check_hudi_table_options(NEW.server, NEW.options);
    IF jsonb_typeof(NEW.columns) <> 'array' OR jsonb_array_length(NEW.columns) = 0
       OR EXISTS (SELECT FROM jsonb_array_elements(NEW.columns) c
                   WHERE jsonb_typeof(c -> 'name') IS DISTINCT FROM 'string') THEN
        RAISE EXCEPTION 'columns of a foreign table are a JSON array' USING ERRCODE = '22023';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER foreign_table_guard BEFORE INSERT OR UPDATE OF options, columns
    ON pgveneer.foreign_table FOR EACH ROW EXECUTE FUNCTION pgveneer.foreign_table_guard();

CREATE FUNCTION pgveneer.check_hudi_table_options(of_server text, options jsonb) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    folder text := options ->> 'foldername';
    format text := options ->> 'format';
    type text := (SELECT s.type FROM pgveneer.foreign_server s WHERE s.name = of_server);
    wrong text;
BEGIN
    IF format IS NULL THEN
        RAISE EXCEPTION 'option "format" is required for a foreign table'
            USING ERRCODE = 'HV002', HINT = 'Write OPTIONS (format ''hudi'', foldername ''/bucket/path/'').';
    ELSIF lower(format) <> 'hudi' THEN
        RAISE EXCEPTION 'foreign tables of format "%" are not supported', format
            USING ERRCODE = '0A000', HINT = 'Only format ''hudi'' is.';
    END IF;
    PERFORM pgveneer.check_options(options, ARRAY['format', 'foldername', 'encoding',
        'checkencoding', 'auth_server', 'kms_url', 'cow_improve', 'julian_adjust']);
    IF folder IS NULL THEN
        RAISE EXCEPTION 'option "foldername" is required for a foreign table of format hudi'
            USING ERRCODE = 'HV002', HINT = 'It is the LOCATION of the Hudi table, with a slash at the end.';
    ELSIF folder !~ '^/.*/$' OR folder ~ '(^|/)[.][.]?(/|$)' OR folder ~ '[[:cntrl:]]' THEN
        RAISE EXCEPTION 'invalid value for option "foldername": "%"', folder
            USING ERRCODE = '22023',
                  HINT = CASE type WHEN 'local' THEN
                             'It is an absolute path that ends in a slash, such as ''/data/table/''.'
                         ELSE 'It begins and ends with a slash, such as ''/bucket/path/''.' END;
    END IF;
    SELECT o.key INTO wrong FROM jsonb_each_text(options) o
     WHERE o.key = 'encoding' AND lower(o.value) NOT IN ('utf8', 'utf-8')
        OR o.key = 'checkencoding' AND lower(o.value) NOT IN ('no', 'low', 'high')
        OR o.key IN ('cow_improve', 'julian_adjust')
           AND lower(o.value) NOT IN ('true', 'on', 'false', 'off')
     ORDER BY 1 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'invalid value for option "%": "%"', wrong, options ->> wrong
            USING ERRCODE = '22023',
                  HINT = CASE wrong WHEN 'encoding' THEN 'Hudi tables are in utf-8.'
                                    WHEN 'checkencoding' THEN 'Use no, low or high.'
                                    ELSE 'Use on or off.' END;
    END IF;
END $$;

-- One line of the view's column list. In the caller's search_path; the casts refuse whatever is no
-- type name, no collation name, so that nothing else can be smuggled into the statement.
CREATE FUNCTION pgveneer.view_column(name text, type text, "collation" text) RETURNS text
    LANGUAGE plpgsql STABLE
AS $$
DECLARE
    found_type pg_catalog.regtype := type::pg_catalog.regtype;
    found_collation pg_catalog.regcollation;
BEGIN
    IF "collation" IS NULL THEN
        RETURN pg_catalog.concat(pg_catalog.quote_ident(name), ' ', type, E'\n');
    END IF;
    found_collation := pg_catalog.to_regcollation("collation");
    IF found_collation IS NULL THEN
        found_collation := pg_catalog.quote_ident("collation")::pg_catalog.regcollation;
    END IF;
    RETURN pg_catalog.concat(pg_catalog.quote_ident(name), ' ', type, ' COLLATE ', found_collation,
                             E'\n');
END $$;

-- CREATE VIEW of a foreign table, over the placeholder 0 or over its own oid.
CREATE FUNCTION pgveneer.view_text(name text, columns text, relid oid) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(E'CREATE %s VIEW %s AS SELECT * FROM pgveneer.hudi_scan(%s::pg_catalog.oid) '
                  'AS hudi_scan (\n%s)', CASE WHEN relid <> 0 THEN 'OR REPLACE' END, name, relid,
                  columns)
$$;

-- Everything about the statement that does not depend on the search_path. Returns the columns, as
-- parallel arrays.
CREATE FUNCTION pgveneer.check_create_foreign_table(columns jsonb, server text, options jsonb,
                                                    OUT names text[], OUT types text[],
                                                    OUT collations text[])
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    twice text;
BEGIN
    PERFORM pgveneer.sweep_foreign_tables();
    PERFORM pgveneer.find_server(server, false);
    IF NOT pgveneer.may_use_server(server) THEN
        RAISE EXCEPTION 'permission denied for foreign server %', server
            USING ERRCODE = '42501', HINT = 'GRANT USAGE ON FOREIGN SERVER gives it.';
    END IF;
    PERFORM pgveneer.check_hudi_table_options(server, options);
    SELECT array_agg(c ->> 'name' ORDER BY n), array_agg(c ->> 'type' ORDER BY n),
           array_agg(c ->> 'collation' ORDER BY n)
      INTO names, types, collations
      FROM jsonb_array_elements(coalesce(columns, '[]')) WITH ORDINALITY e(c, n);
    IF names IS NULL THEN
        RAISE EXCEPTION 'a Hudi foreign table must have at least one column'
            USING ERRCODE = '42P16';
    END IF;
    SELECT name INTO twice FROM unnest(names) u(name) GROUP BY name HAVING count(*) > 1 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'column "%" specified more than once', twice USING ERRCODE = '42701';
    END IF;
END $$;

-- Where an unqualified name is created: pg_temp is asked for by name only.
CREATE FUNCTION pgveneer.creation_name(name text[]) RETURNS text[]
    LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF pg_catalog.array_length(name, 1) OPERATOR(pg_catalog.>) 1 THEN
        RETURN name;
    END IF;
    IF pg_catalog.current_schema() IS NULL THEN
        RAISE EXCEPTION 'no schema has been selected to create in' USING ERRCODE = '3F000';
    END IF;
    RETURN pg_catalog.array_prepend(pg_catalog.current_schema()::pg_catalog.text, name);
END $$;

CREATE FUNCTION pgveneer.register_foreign_table(relid oid, server text, options jsonb,
                                                columns jsonb, distribution text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT pgveneer.is_hudi_view(relid) THEN
        RAISE EXCEPTION 'temporary foreign tables are not supported' USING ERRCODE = '0A000';
    END IF;
    INSERT INTO pgveneer.foreign_table (relid, server, options, columns, distribution)
    VALUES (relid, server, options, columns, coalesce(distribution, ''));
END $$;

-- columns: [{"name", "type", "collation", "not_null"}]; distribution has no effect, the vendor's
-- engine needs it.
CREATE PROCEDURE pgveneer.create_foreign_table(name text[], columns jsonb, server text,
                                               options jsonb, if_not_exists boolean,
                                               distribution text)
    LANGUAGE plpgsql
AS $$
DECLARE
    checked record;
    target pg_catalog.text;
    list pg_catalog.text;
    view pg_catalog.oid;
BEGIN
    target := pgveneer.quote_name(pgveneer.creation_name(name));
    IF pg_catalog.to_regclass(target) IS NOT NULL THEN
        IF if_not_exists THEN
            RAISE NOTICE 'relation "%" already exists, skipping',
                name[pg_catalog.array_upper(name, 1)] USING ERRCODE = '42P07';
            RETURN;
        END IF;
        RAISE EXCEPTION 'relation "%" already exists', name[pg_catalog.array_upper(name, 1)]
            USING ERRCODE = '42P07';
    END IF;
    checked := pgveneer.check_create_foreign_table(columns, server, options);
    FOR i IN 1 .. pg_catalog.array_length(checked.names, 1) LOOP
        list := pg_catalog.concat_ws(', ', list, pgveneer.view_column(
            checked.names[i], checked.types[i], checked.collations[i]));
    END LOOP;
    EXECUTE pgveneer.view_text(target, list, 0);
    view := target::pg_catalog.regclass;
    EXECUTE pgveneer.view_text(target, list, view);
    PERFORM pgveneer.register_foreign_table(view, server, options, columns, distribution);
END $$;

-- The view of a foreign table that the statement names, or what PostgreSQL says.
CREATE FUNCTION pgveneer.find_foreign_table(name text[], if_exists boolean) RETURNS oid
    LANGUAGE plpgsql
AS $$
DECLARE
    view pg_catalog.oid := pgveneer.find_relation(name);
BEGIN
    IF view IS NULL AND if_exists THEN
        RAISE NOTICE 'foreign table "%" does not exist, skipping',
            name[pg_catalog.array_upper(name, 1)];
    ELSIF view IS NULL THEN
        RAISE EXCEPTION 'foreign table "%" does not exist', pg_catalog.array_to_string(name, '.')
            USING ERRCODE = '42P01';
    ELSIF NOT pgveneer.is_hudi_relation(view) THEN
        RAISE EXCEPTION '"%" is not a foreign table', name[pg_catalog.array_upper(name, 1)]
            USING ERRCODE = '42809';
    END IF;
    RETURN view;
END $$;

CREATE FUNCTION pgveneer.change_table_options(view oid, changes jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    before jsonb := (SELECT options FROM pgveneer.foreign_table WHERE relid = view);
    o record;
BEGIN
    IF NOT pgveneer.owns_relation(view) THEN
        RAISE EXCEPTION 'must be owner of foreign table %',
                        (SELECT relname FROM pg_class WHERE oid = view)
            USING ERRCODE = '42501';
    END IF;
    o := pgveneer.change_options(before, changes);
    UPDATE pgveneer.foreign_table t SET options = o.shown WHERE t.relid = view;
END $$;

CREATE FUNCTION pgveneer.change_foreign_table(view oid, changes jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target text := pgveneer.qualified_name(view);
BEGIN
    IF jsonb_typeof(changes -> 'options') = 'array' THEN
        PERFORM pgveneer.change_table_options(view, changes -> 'options');
    END IF;
    IF changes ->> 'owner_to' IS NOT NULL THEN
        EXECUTE format('ALTER VIEW %s OWNER TO %I', target,
                       pg_get_userbyid(pgveneer.find_role(changes ->> 'owner_to')));
    END IF;
    IF changes ->> 'set_schema' IS NOT NULL THEN
        EXECUTE format('ALTER VIEW %s SET SCHEMA %I', target, changes ->> 'set_schema');
    END IF;
    IF changes ->> 'rename_to' IS NOT NULL THEN
        EXECUTE format('ALTER VIEW %s RENAME TO %I', pgveneer.qualified_name(view),
                       changes ->> 'rename_to');
    END IF;
END $$;

-- changes: {"options": […], "rename_to", "owner_to", "set_schema"}
CREATE PROCEDURE pgveneer.alter_foreign_table(name text[], if_exists boolean, changes jsonb)
    LANGUAGE plpgsql
AS $$
DECLARE
    view pg_catalog.oid := pgveneer.find_foreign_table(name, if_exists);
BEGIN
    IF view IS NOT NULL THEN
        PERFORM pgveneer.change_foreign_table(view, changes);
    END IF;
END $$;

-- Tasks that read from a foreign table, whoever submitted them.
CREATE FUNCTION pgveneer.hudi_tasks_of_source(view oid) RETURNS text[]
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(task_id ORDER BY task_id) FROM pgveneer.task
     WHERE category = 'SQLonHudi' AND (params ->> 'ftable_oid')::oid = view
$$;

-- Drops one view. Tasks that read from it stand in the way, or go with it as far as the caller may.
CREATE FUNCTION pgveneer.drop_hudi_view(view oid, cascade boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tasks text[] := pgveneer.hudi_tasks_of_source(view);
    target text := pgveneer.qualified_name(view);
    task text;
BEGIN
    IF cardinality(tasks) > 0 AND NOT cascade THEN
        RAISE EXCEPTION 'cannot drop foreign table % because other objects depend on it', target
            USING ERRCODE = '2BP01',
                  DETAIL = (SELECT string_agg(format('task "%s" depends on foreign table %s', t, target),
                                              E'\n') FROM unnest(tasks) t),
                  HINT = 'Use DROP ... CASCADE to drop the dependent objects too.';
    END IF;
    EXECUTE format('DROP VIEW %s %s', target, CASE WHEN cascade THEN 'CASCADE' ELSE 'RESTRICT' END);
    FOREACH task IN ARRAY coalesce(tasks, '{}') LOOP
        PERFORM pgveneer.pg_task_remove(task);
        RAISE NOTICE 'drop cascades to task "%"', task;
    END LOOP;
    PERFORM pgveneer.sweep_foreign_tables();
END $$;

CREATE PROCEDURE pgveneer.drop_foreign_table(names jsonb, if_exists boolean, cascade boolean)
    LANGUAGE plpgsql
AS $$
DECLARE
    name pg_catalog.jsonb;
    view pg_catalog.oid;
BEGIN
    FOR name IN SELECT n FROM pg_catalog.jsonb_array_elements(names) AS n LOOP
        view := pgveneer.find_foreign_table(
            ARRAY(SELECT p FROM pg_catalog.jsonb_array_elements_text(name) AS p), if_exists);
        IF view IS NOT NULL THEN
            PERFORM pgveneer.drop_hudi_view(view, cascade);
        END IF;
    END LOOP;
END $$;
