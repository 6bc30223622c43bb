-- Table properties of the vendor: CREATE TABLE … WITH, CALL set_table_property, ALTER TABLE … SET, and
-- the read-only mark. Hologres, "CREATE TABLE", "REBUILD"; spec/rebuild.md sections 1.3, 1.6, 2, 4.6.
--
-- Everything here runs with the rights of who calls it, in his transaction.

-- What is wrong with the properties, for a table of these columns: one row each.
CREATE FUNCTION hologres.property_problems(properties jsonb, columns text[])
    RETURNS TABLE (code text, message text, hint text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text;
    value text;
    known hologres.known_property;
    pair jsonb;
BEGIN
    FOR name, value IN SELECT p ->> 'name', p ->> 'value' FROM jsonb_array_elements(properties) p LOOP
        CONTINUE WHEN name = 'readonly' OR name = 'tablespace' OR hologres.is_storage_parameter(name);
        known := hologres.find_property(name);
        code := '22023';
        hint := '';
        message := NULL;
        IF known.name IS NULL THEN
            message := format('unrecognized table property "%s"', name);
            hint := format('Perhaps you meant "%s".', hologres.nearest_property(name));
        ELSIF known.takes IN ('columns', 'order', 'switch') THEN
            IF coalesce(value, '') = '' THEN
                CONTINUE; -- none
            ELSIF hologres.read_column_list(value) IS NULL THEN
                message := format('invalid value for property "%s": "%s"', name, value);
                hint := 'Write column names separated by commas.';
            END IF;
            FOR pair IN SELECT e FROM jsonb_array_elements(hologres.read_column_list(value)) e LOOP
                IF pair ->> 0 <> ALL (columns) THEN
                    code := '42703';
                    message := format('column "%s" named by property "%s" does not exist',
                                      pair ->> 0, name);
                ELSIF pair ->> 1 IS NOT NULL
                      AND pair ->> 1 <> ALL (CASE known.takes WHEN 'order' THEN '{asc,desc}'::text[]
                                              WHEN 'switch' THEN '{on,off,auto}' ELSE '{}' END) THEN
                    message := format('invalid value for property "%s": "%s"', name, value);
                END IF;
            END LOOP;
        ELSIF known.takes = 'number' AND value !~ '^\d{1,18}$'
              OR known.takes = 'boolean' AND lower(value) NOT IN ('true', 'false', 'on', 'off')
              OR known.takes LIKE '%|%' AND
                 replace(lower(value), ' ', '') <> ALL (string_to_array(known.takes, '|')) THEN
            message := format('invalid value for property "%s": "%s"', name, value);
            hint := CASE WHEN known.takes LIKE '%|%' THEN
                        'Values are ' || replace(known.takes, '|', ' or ') || '.'
                    ELSE 'A ' || known.takes || ' is needed.' END;
        END IF;
        IF message IS NOT NULL THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION hologres.check_properties(properties jsonb, columns text[]) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p record;
BEGIN
    SELECT * INTO p FROM hologres.property_problems(properties, columns) LIMIT 1;
    IF FOUND THEN
        PERFORM hologres.raise(p.code, p.message, p.hint);
    END IF;
END $$;

-- Stores the vendor's properties; those without value or with an empty one are as the vendor takes
-- them: "SET (p)" is true, an empty list of columns is none.
CREATE FUNCTION hologres.store_properties(rel oid, properties jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text;
    value text;
    known hologres.known_property;
BEGIN
    FOR name, value IN SELECT p ->> 'name', coalesce(p ->> 'value', 'true')
                         FROM jsonb_array_elements(properties) p LOOP
        known := hologres.find_property(name);
        CONTINUE WHEN known.name IS NULL;
        INSERT INTO hologres.table_property (relid, key, value) VALUES (rel, known.stored, value)
        ON CONFLICT (relid, key) DO UPDATE SET value = excluded.value;
    END LOOP;
END $$;

-- Says which properties change nothing in the server.
CREATE FUNCTION hologres.tell_properties(properties jsonb) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text;
    value text;
    known hologres.known_property;
BEGIN
    FOR name, value IN SELECT p ->> 'name', p ->> 'value' FROM jsonb_array_elements(properties) p LOOP
        known := hologres.find_property(name);
        IF known.effect IS NOT NULL THEN
            RAISE NOTICE 'property "%" is stored and has no physical effect: %', name, known.effect;
        ELSIF name = 'table_group' AND NOT EXISTS (
              SELECT FROM pg_tablespace WHERE spcname = value) THEN
            RAISE NOTICE 'property "%" is stored and has no physical effect: there is no tablespace "%"',
                         name, value;
        END IF;
    END LOOP;
END $$;

-- The columns of clustering_key as ORDER BY and index take them.
CREATE FUNCTION hologres.order_list(value text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(quote_ident(p ->> 0) || CASE p ->> 1 WHEN 'desc' THEN ' DESC' ELSE '' END,
                      ', ' ORDER BY n)
      FROM jsonb_array_elements(hologres.read_column_list(value)) WITH ORDINALITY e(p, n)
$$;

-- The first key columns of the table's btree indexes; NULL: none is like that.
CREATE FUNCTION hologres.find_order_index(rel oid, value text) RETURNS oid
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT i.indexrelid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
      JOIN pg_am m ON m.oid = c.relam
     WHERE i.indrelid = rel AND m.amname = 'btree' AND i.indpred IS NULL AND i.indisvalid
       AND (SELECT bool_and(a.attnum IS NOT NULL AND a.attnum = i.indkey[n - 1]
                            AND (i.indoption[n - 1] & 1 = 1) = (coalesce(p ->> 1, 'asc') = 'desc'))
              FROM jsonb_array_elements(hologres.read_column_list(value)) WITH ORDINALITY e(p, n)
              LEFT JOIN pg_attribute a ON a.attrelid = rel AND a.attname = p ->> 0)
     ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1
$$;

-- Statements that give properties their meaning on a table that holds no rows yet, or is `target`, a
-- copy of it. Both names are qualified.
CREATE FUNCTION hologres.property_statements(rel oid, target text, properties jsonb)
    RETURNS SETOF text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    name text;
    value text;
BEGIN
    FOR name, value IN SELECT p ->> 'name', coalesce(p ->> 'value', 'true')
                         FROM jsonb_array_elements(properties) p LOOP
        IF hologres.is_storage_parameter(name) THEN
            RETURN NEXT format('ALTER TABLE %s SET (%s = %L)', target,
                (SELECT string_agg(quote_ident(part), '.' ORDER BY n)
                   FROM unnest(string_to_array(name, '.')) WITH ORDINALITY u(part, n)), value);
        ELSIF name = 'tablespace' OR name = 'table_group' AND EXISTS (
              SELECT FROM pg_tablespace WHERE spcname = value) THEN
            RETURN NEXT format('ALTER TABLE %s SET TABLESPACE %I', target, value);
        ELSIF name = 'clustering_key' AND value <> '' THEN
            IF hologres.find_order_index(rel, value) IS NULL THEN
                RETURN NEXT format('CREATE INDEX ON %s USING btree (%s)', target,
                                   hologres.order_list(value));
            END IF;
        ELSIF name IN ('event_time_column', 'segment_key') AND value <> '' THEN
            IF NOT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                             JOIN pg_am m ON m.oid = c.relam JOIN pg_attribute a
                               ON a.attrelid = rel AND a.attnum = i.indkey[0]
                            WHERE i.indrelid = rel AND m.amname = 'brin'
                              AND a.attname = hologres.read_column_list(value) -> 0 ->> 0) THEN
                RETURN NEXT format('CREATE INDEX ON %s USING brin (%s)', target,
                                   hologres.order_list(value));
            END IF;
        END IF;
    END LOOP;
END $$;

-- Properties of a table that was made in this transaction take effect; later a rebuild is needed.
CREATE FUNCTION hologres.set_properties(rel oid, properties jsonb, is_new boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    statement text;
    name text;
BEGIN
    PERFORM hologres.check_properties(properties, hologres.column_names(rel));
    PERFORM hologres.store_properties(rel, properties);
    PERFORM hologres.tell_properties(properties);
    FOR statement IN SELECT s FROM hologres.property_statements(rel, hologres.qualified_name(rel),
                                                                properties) s LOOP
        IF is_new OR statement NOT LIKE 'CREATE INDEX %' THEN
            EXECUTE statement;
        ELSE
            RAISE NOTICE 'the order of rows and indexes are as before'
                USING HINT = 'ASYNC REBUILD TABLE ... SET (...) gives the property its effect.';
        END IF;
    END LOOP;
    FOR name IN SELECT i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
                 WHERE is_new AND x.indrelid = rel AND x.indexrelid = (
                    SELECT hologres.find_order_index(rel, p ->> 'value')
                      FROM jsonb_array_elements(properties) p
                     WHERE p ->> 'name' = 'clustering_key' AND p ->> 'value' <> '') LOOP
        EXECUTE format('ALTER TABLE %s CLUSTER ON %I', hologres.qualified_name(rel), name);
    END LOOP;
END $$;

CREATE FUNCTION hologres.is_of_this_transaction(rel oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*) = 1 FROM pg_class c
     WHERE c.oid = rel AND c.xmin::text = (pg_current_xact_id()::text::numeric % 4294967296)::text
$$;

CREATE PROCEDURE hologres.set_table_property(tbl regclass, key text, value text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rel oid := hologres.own_table(tbl, ARRAY[hologres.qualified_name(tbl)], false);
BEGIN
    PERFORM hologres.set_properties(rel, jsonb_build_array(jsonb_build_object(
        'name', key, 'value', value)), hologres.is_of_this_transaction(rel));
END $$;

-- The read-only mark ---------------------------------------------------------------------------------

CREATE FUNCTION hologres.refuse_write() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'cannot execute % on table "%": it is read-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = '25006',
              DETAIL = CASE WHEN TG_ARGV[0] OPERATOR(pg_catalog.=) '' THEN 'It was set to read-only.'
                            ELSE pg_catalog.format('Rebuild "%s" made it so.', TG_ARGV[0]) END,
              HINT = 'ALTER TABLE ... SET (readonly = false) allows writes again.';
END $$;

-- query_id: of the rebuild that sets it, or empty. Statement triggers, and row triggers for what
-- reaches a partition without its parent.
CREATE FUNCTION hologres.readonly_statements(target text, query_id text) RETURNS SETOF text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('CREATE TRIGGER hologres_readonly BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s '
                  'FOR EACH STATEMENT EXECUTE FUNCTION hologres.refuse_write(%L)', target, query_id)
    UNION ALL
    SELECT format('CREATE TRIGGER hologres_readonly_row BEFORE INSERT OR UPDATE OR DELETE ON %s '
                  'FOR EACH ROW EXECUTE FUNCTION hologres.refuse_write(%L)', target, query_id)
    UNION ALL
    SELECT format('ALTER TABLE %s ENABLE ALWAYS TRIGGER hologres_readonly, '
                  'ENABLE ALWAYS TRIGGER hologres_readonly_row', target)
$$;

CREATE FUNCTION hologres.is_readonly(rel oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = rel AND tgname = 'hologres_readonly'
                      AND tgfoid = 'hologres.refuse_write()'::regprocedure)
$$;

CREATE FUNCTION hologres.set_readonly(rel oid, wanted boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target text := hologres.qualified_name(rel);
    statement text;
BEGIN
    IF wanted AND NOT hologres.is_readonly(rel) THEN
        FOR statement IN SELECT s FROM hologres.readonly_statements(target, '') s LOOP
            EXECUTE statement;
        END LOOP;
    ELSIF NOT wanted AND hologres.is_readonly(rel) THEN
        EXECUTE format('DROP TRIGGER hologres_readonly ON %s', target);
        EXECUTE format('DROP TRIGGER IF EXISTS hologres_readonly_row ON %s', target);
    END IF;
END $$;

-- ALTER TABLE [IF EXISTS] name SET (…) with a property of the vendor.
CREATE PROCEDURE hologres.alter_table(name text[], if_exists boolean, properties jsonb)
    LANGUAGE plpgsql
AS $$
DECLARE
    rel pg_catalog.oid := hologres.own_table(hologres.find_relation(name), name, if_exists);
BEGIN
    IF rel IS NOT NULL THEN
        PERFORM hologres.alter_properties(rel, properties);
    END IF;
END $$;
CREATE FUNCTION hologres.alter_properties(rel oid, properties jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mark text;
BEGIN
    FOR mark IN SELECT lower(coalesce(p ->> 'value', 'true')) FROM jsonb_array_elements(properties) p
                 WHERE p ->> 'name' = 'readonly' LOOP
        IF mark NOT IN ('true', 'false', 'on', 'off') THEN
            RAISE EXCEPTION 'invalid value for property "readonly": "%"', mark
                USING ERRCODE = '22023', HINT = 'A boolean is needed.';
        END IF;
        PERFORM hologres.set_readonly(rel, mark IN ('true', 'on'));
    END LOOP;
    PERFORM hologres.set_properties(rel, coalesce((
        SELECT jsonb_agg(p) FROM jsonb_array_elements(properties) p
         WHERE p ->> 'name' <> 'readonly'), '[]'), false);
END $$;

-- CREATE TABLE … WITH (…): `statement` is what is left of it without the vendor's properties. It is
-- read with the caller's search_path.
CREATE PROCEDURE hologres.create_table(name text[], if_not_exists boolean, properties jsonb,
                                       statement text)
    LANGUAGE plpgsql
AS $$
DECLARE
    before pg_catalog.oid := hologres.find_relation(name);
    rel pg_catalog.oid;
BEGIN
    EXECUTE statement;
    rel := hologres.find_relation(name);
    IF rel OPERATOR(pg_catalog.=) before THEN
        RETURN; -- IF NOT EXISTS
    END IF;
    PERFORM hologres.set_properties(rel, properties, true);
END $$;
