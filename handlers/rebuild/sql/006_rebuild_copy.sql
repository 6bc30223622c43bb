-- revision 2
-- Rebuilds that copy the rows: the copy, the log of changed keys, slices, rounds. spec/rebuild.md sections
-- 4.1 and 4.2.
--
-- The copy is an empty table LIKE the source to which PostgreSQL itself applied the actions; so its
-- definition is exactly what ALTER TABLE would have made. Its indexes are written down and dropped,
-- and built again once the rows are there.

-- At most so many bytes of a name, whole characters.
CREATE OR REPLACE FUNCTION hologres.cut(name text, bytes integer) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT left(name, (SELECT max(n) FROM generate_series(0, length(name)) n
                        WHERE octet_length(left(name, n)) <= bytes))
$$;

CREATE OR REPLACE FUNCTION hologres.new_table_name(id text, rel oid) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT hologres.cut('tmp_rebuild_new_' || id || '_' || rel || '_' || relname, 63)
        FROM pg_class WHERE oid = rel $$;
CREATE OR REPLACE FUNCTION hologres.old_table_name(id text, rel oid) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT hologres.cut('tmp_rebuild_old_' || id || '_' || rel || '_' || relname, 63)
        FROM pg_class WHERE oid = rel $$;

-- The tables that hold the rows: itself, or the partitions at the ends.
CREATE OR REPLACE FUNCTION hologres.leaves_of(rel oid) RETURNS SETOF oid
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT oid FROM pg_class WHERE oid = rel AND relkind = 'r'
    UNION ALL
    SELECT t.relid FROM pg_partition_tree(rel) t WHERE t.isleaf AND t.level > 0
$$;

-- Which file holds the rows; another one says that the table was written anew (TRUNCATE, VACUUM FULL).
CREATE OR REPLACE FUNCTION hologres.file_of(rel oid) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT md5(string_agg(l || ' ' || pg_relation_filenode(l), ',' ORDER BY l)) FROM hologres.leaves_of(rel) l
$$;

-- Storage parameters of a table; of a partitioned one, those that all its partitions have. PostgreSQL
-- has them only there; those that one partition has alone are its own.
CREATE OR REPLACE FUNCTION hologres.options_of(rel oid) RETURNS text[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT array_agg(o ORDER BY o) FROM (
        SELECT o FROM hologres.leaves_of(rel) l JOIN pg_class c ON c.oid = l
          LEFT JOIN pg_class t ON t.oid = c.reltoastrelid,
               unnest(c.reloptions || ARRAY(SELECT 'toast.' || x FROM unnest(t.reloptions) x)) o
         GROUP BY o HAVING count(*) = (SELECT count(*) FROM hologres.leaves_of(rel))) AS common
$$;

-- A unique index whose columns are never null: rows are known by it. NULL: there is none.
CREATE OR REPLACE FUNCTION hologres.find_key(rel oid) RETURNS oid
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT i.indexrelid FROM pg_index i
     WHERE i.indrelid = rel AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
       AND i.indexprs IS NULL
       AND (SELECT bool_and(hologres.is_never_null(a)) FROM pg_attribute a WHERE a.attrelid = rel
               AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
     ORDER BY i.indisprimary DESC, i.indimmediate DESC, i.indnkeyatts, i.indexrelid LIMIT 1
$$;

-- The columns of that key: their type without domains, and the operator that finds them equal.
-- kept: as the copy has it; a converted column is kept beside its new self.
CREATE OR REPLACE FUNCTION hologres.key_columns(rel oid, actions jsonb)
    RETURNS TABLE (n integer, name text, type text, operator text, converted boolean, kept text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
    WITH RECURSIVE key AS (
        SELECT k::integer AS n, a.attname, a.atttypid, a.atttypmod, a.attcollation,
               i.indclass[k - 1] AS opclass
          FROM pg_index i, generate_series(1, i.indnkeyatts) k
          JOIN pg_attribute a ON a.attrelid = rel
         WHERE i.indexrelid = hologres.find_key(rel) AND a.attnum = i.indkey[k - 1]),
    base AS (
        SELECT n, atttypid AS t, atttypmod AS m FROM key
        UNION ALL
        SELECT n, typbasetype, CASE WHEN m = -1 THEN typtypmod ELSE m END
          FROM base JOIN pg_type ON pg_type.oid = t WHERE typtype = 'd')
    SELECT key.n, attname::text, format_type(base.t, base.m) || coalesce(
               ' COLLATE ' || quote_ident(cn.nspname) || '.' || quote_ident(c.collname), ''),
           format('OPERATOR(%I.%s)', ops.nspname, o.oprname), v.converted,
           CASE WHEN v.converted THEN 'tmp_rebuild_key_' || key.n ELSE attname::text END
      FROM key JOIN base ON base.n = key.n
      JOIN pg_type t ON t.oid = base.t AND t.typtype <> 'd'
      JOIN pg_opclass used ON used.oid = key.opclass
      JOIN pg_am btree ON btree.amname = 'btree'
      JOIN pg_opclass oc ON CASE used.opcmethod WHEN btree.oid THEN oc.oid = used.oid -- else WITHOUT OVERLAPS
           ELSE oc.opcmethod = btree.oid AND oc.opcdefault AND oc.opcintype = used.opcintype END
      JOIN pg_amop am ON am.amopfamily = oc.opcfamily AND am.amopstrategy = 3
                     AND am.amoplefttype = oc.opcintype AND am.amoprighttype = oc.opcintype
      JOIN pg_operator o ON o.oid = am.amopopr JOIN pg_namespace ops ON ops.oid = o.oprnamespace
      LEFT JOIN pg_collation c ON c.oid = key.attcollation AND c.collname <> 'default'
      LEFT JOIN pg_namespace cn ON cn.oid = c.collnamespace,
           LATERAL (SELECT EXISTS (SELECT FROM jsonb_array_elements(actions) a
                     WHERE a ->> 'do' = 'type' AND a ->> 'column' = attname) AS converted) v
     ORDER BY key.n
$$;

-- create_tmp_table -----------------------------------------------------------------------------------

-- Indexes of the copy, in the order in which LIKE made them, get names that lead back to theirs.
CREATE OR REPLACE FUNCTION hologres.name_copied_indexes(rel oid, copy oid) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off SET quote_all_identifiers = off
AS $$
DECLARE
    pair record;
BEGIN
    FOR pair IN
        SELECT hologres.qualified_name(c.indexrelid) AS name, s.indexrelid AS source, s.indisvalid
          FROM (SELECT indexrelid, row_number() OVER (ORDER BY indexrelid) AS n FROM pg_index
                 WHERE indrelid = copy) c
          JOIN (SELECT indexrelid, indisvalid, row_number() OVER (ORDER BY indexrelid) AS n
                  FROM pg_index WHERE indrelid = rel) s ON s.n = c.n LOOP
        IF pair.indisvalid THEN
            EXECUTE format('ALTER INDEX %s RENAME TO %I', pair.name, 'tmp_rebuild_index_' || pair.source);
        ELSE
            EXECUTE format('DROP INDEX %s', pair.name);
        END IF;
    END LOOP;
END $$;

-- As try_actions, for good.
CREATE OR REPLACE FUNCTION hologres.apply_actions(copy oid, actions jsonb, path text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    action jsonb;
    statement text;
BEGIN
    FOR action IN SELECT a FROM jsonb_array_elements(actions) a LOOP
        FOR statement IN SELECT s FROM hologres.action_statements(
                             copy, hologres.qualified_name(copy), action) s LOOP
            PERFORM set_config('search_path', path, true);
            EXECUTE statement;
            PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        END LOOP;
    END LOOP;
END $$;

-- What PostgreSQL would call a new index or constraint of the table itself.
CREATE OR REPLACE FUNCTION hologres.own_name(rel oid, columns text[], label text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT hologres.free_name(relnamespace, hologres.cut(
               hologres.cut(relname, 30) || coalesce('_' || array_to_string(columns, '_'), ''), 50)
               || '_' || label)
      FROM pg_class WHERE oid = rel
$$;

-- The tablespace of an index, in its place in a definition, which PostgreSQL writes without. clause: what goes before it.
CREATE OR REPLACE FUNCTION hologres.with_tablespace(definition text, clause text, index oid) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
    SELECT coalesce((
        SELECT left(definition, p.place - 1) || clause || quote_ident(s.spcname) || substr(definition, p.place)
          FROM pg_class c JOIN pg_tablespace s ON s.oid = c.reltablespace JOIN pg_index x ON x.indexrelid = c.oid,
               LATERAL (SELECT pg_get_expr(x.indpred, x.indrelid) AS text) w,
               LATERAL (SELECT coalesce(nullif(greatest(strpos(definition, ' WHERE ' || w.text), strpos(definition, ' WHERE (' || w.text)), 0),
                                        length(regexp_replace(definition, ' DEFERRABLE( INITIALLY DEFERRED)?$', '')) + 1) AS place) p
         WHERE c.oid = index), definition)
$$;

-- Constraints that the actions made on the copy get the names that they would have on the table.
CREATE OR REPLACE FUNCTION hologres.name_copied_constraints(rel oid, copy oid) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off SET quote_all_identifiers = off
AS $$
DECLARE
    made record;
    base text;
    name text;
    n integer;
BEGIN
    FOR made IN SELECT k.conname, k.contype, (SELECT array_agg(a.attname::text) FROM pg_attribute a
                       WHERE a.attrelid = copy AND a.attnum = ANY (k.conkey)) AS columns
                  FROM pg_constraint k
                 WHERE k.conrelid = copy AND k.contype IN ('c', 'n') AND k.conname LIKE 'tmp\_rebuild\_%' LOOP
        base := hologres.own_name(rel, made.columns, CASE made.contype WHEN 'c' THEN 'check' ELSE 'not_null' END);
        name := base;
        n := 0;
        WHILE EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = copy AND k.conname = name) LOOP
            n := n + 1;
            name := hologres.cut(base, 63 - length(n::text)) || n;
        END LOOP;
        EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', hologres.qualified_name(copy), made.conname, name);
    END LOOP;
END $$;

-- LIKE makes a NOT NULL that was never proved a valid one; the swap brings it back as it was.
CREATE OR REPLACE FUNCTION hologres.drop_unproved_not_nulls(rel oid, copy oid) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT conname FROM pg_constraint
                 WHERE conrelid = rel AND contype = 'n' AND NOT convalidated LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', hologres.qualified_name(copy), name);
    END LOOP;
END $$;

-- Writes the options and the indexes of the copy down, these in the order in which they shall be built (the key first), and
-- drops them. Checks that the actions added get the name that they would have on the table. target: the
-- table on which they will be built; a partitioned one takes its constraints whole.
CREATE OR REPLACE FUNCTION hologres.strip_copy(rel oid, copy oid, target text, parted boolean) RETURNS jsonb
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    i record;
    plan jsonb := '[]';
    options text[] := hologres.options_of(copy);
    here text := hologres.qualified_name(copy);
BEGIN
    FOR i IN
        SELECT x.*, c.relname, n.nspname, k.conname, k.contype, pg_get_constraintdef(k.oid) AS condef,
               pg_get_indexdef(x.indexrelid) AS definition, s.relname AS source_name,
               x.indisexclusion OR parted AND k.contype IS NOT NULL AS is_whole,
               k.condeferrable, k.condeferred,
               (SELECT array_agg(a.attname::text ORDER BY o) FROM unnest(x.indkey) WITH ORDINALITY u(key, o)
                  JOIN pg_attribute a ON a.attrelid = copy AND a.attnum = key) AS columns,
               (SELECT p.conname FROM pg_constraint p WHERE p.conrelid = rel AND p.contype = 'p') AS pkey
          FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
          JOIN pg_namespace n ON n.oid = c.relnamespace
          LEFT JOIN pg_constraint k ON k.conindid = x.indexrelid AND k.conrelid = copy
                                   AND k.contype IN ('p', 'u', 'x')
          LEFT JOIN pg_class s ON c.relname = 'tmp_rebuild_index_' || s.oid
         WHERE x.indrelid = copy
         ORDER BY x.indisprimary DESC, x.indisunique DESC, x.indexrelid LOOP
        plan := plan || jsonb_build_object(
            'tmp', format('%I.%I', i.nspname, i.relname),
            'tmp_name', i.relname,
            'source', replace(i.relname, 'tmp_rebuild_index_', ''),
            'name', coalesce(i.source_name, CASE WHEN i.indisprimary THEN i.pkey END,
                             hologres.own_name(rel, CASE WHEN i.indisprimary THEN NULL ELSE i.columns END,
                                CASE WHEN i.indisprimary THEN 'pkey' WHEN i.contype = 'u' THEN 'key'
                                     WHEN i.contype = 'x' THEN 'excl' ELSE 'idx' END)),
            'columns', i.columns, 'unique', i.indisunique, 'primary', i.indisprimary,
            'plain', i.indexprs IS NULL AND i.indpred IS NULL,
            'create', CASE WHEN i.is_whole THEN
                          format('ALTER TABLE %s ADD CONSTRAINT %I %s', target, i.relname,
                                 hologres.with_tablespace(i.condef, ' USING INDEX TABLESPACE ', i.indexrelid))
                      ELSE replace(hologres.with_tablespace(i.definition, ' TABLESPACE ', i.indexrelid),
                                   ' ON ' || here || ' USING ', ' ON ' || target || ' USING ') END,
            'btree', i.definition LIKE '% USING btree %',
            'constraint', CASE WHEN i.contype IN ('p', 'u') AND NOT i.is_whole THEN
                format('ALTER TABLE %s ADD CONSTRAINT %I %s USING INDEX %I%s', target, i.relname,
                       CASE i.contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, i.relname,
                       CASE WHEN i.condeferred THEN ' DEFERRABLE INITIALLY DEFERRED'
                            WHEN i.condeferrable THEN ' DEFERRABLE' ELSE '' END) END);
    END LOOP;
    FOR i IN SELECT p ->> 'tmp' AS name, p ->> 'tmp_name' AS short, EXISTS (
                    SELECT FROM pg_constraint k JOIN pg_class c ON c.oid = k.conindid
                     WHERE k.conrelid = copy AND c.relname = p ->> 'tmp_name') AS is_constraint
               FROM jsonb_array_elements(plan) p LOOP
        IF i.is_constraint THEN
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', here, i.short);
        ELSE
            EXECUTE format('DROP INDEX %s', i.name);
        END IF;
    END LOOP;
    PERFORM hologres.name_copied_constraints(rel, copy);
    FOR i IN SELECT conname FROM pg_constraint k
              WHERE k.conrelid = rel AND k.contype = 'c' AND NOT k.convalidated LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', here, i.conname); -- after the copy
    END LOOP;
    RETURN jsonb_build_object('indexes', plan, 'options', options);
END $$;

-- The columns for whose values the copy has partitions; NULL: it is a plain table, or divided as the source.
CREATE OR REPLACE FUNCTION hologres.partition_list(id text) RETURNS text[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN hologres.partition_way(r.relid, t.params -> 'actions') = 'values'
           THEN hologres.partition_columns(r.relid, t.params -> 'actions') END
      FROM hologres.rebuild r JOIN pgveneer.task t ON t.task_id = r.query_id WHERE r.query_id = id
$$;

-- By the owner: makes the copy. Its plan goes to pg_temp.rebuild_out. What will be partitioned is made
-- from a plain table, on which the actions and the key of the source have their place.
CREATE OR REPLACE FUNCTION hologres.create_copy_body(id text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    rel oid := (SELECT relid FROM hologres.rebuild WHERE query_id = id);
    c pg_class := (SELECT c FROM pg_class c WHERE c.oid = rel);
    t pgveneer.task := (SELECT t FROM pgveneer.task t WHERE t.task_id = id);
    schema text := (SELECT quote_ident(nspname) FROM pg_namespace WHERE oid = c.relnamespace);
    copy text := schema || '.' || quote_ident(hologres.new_table_name(id, rel));
    parts text[] := hologres.partition_list(id);
    parted boolean := hologres.partition_way(rel, t.params -> 'actions') IS NOT NULL;
    made text := CASE WHEN parted THEN schema || '.tmp_rebuild_def_' || id ELSE copy END;
    options text[] := CASE WHEN parted THEN hologres.options_of(rel) ELSE ARRAY(
                          SELECT o FROM unnest(c.reloptions) o WHERE o NOT LIKE 'autovacuum_enabled=%')
                          || '{autovacuum_enabled=off}'::text[] END;
    am text := (SELECT amname FROM pg_am WHERE oid = c.relam);
    space text := (SELECT spcname FROM pg_tablespace WHERE oid = c.reltablespace);
    hidden text := (SELECT string_agg(format('ADD COLUMN %I %s', kept, type), ', ' ORDER BY n)
                      FROM hologres.key_columns(rel, t.params -> 'actions') WHERE converted);
BEGIN
    RETURN format('EXECUTE %L;', format(
            'CREATE %s TABLE %s (LIKE %s INCLUDING ALL EXCLUDING STATISTICS)%s%s%s',
            CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE '' END, made,
            hologres.qualified_name(rel), coalesce(' USING ' || quote_ident(am), ''),
            coalesce(' WITH (' || array_to_string(options, ', ') || ')', ''),
            coalesce(' TABLESPACE ' || quote_ident(space), '')))
        || format(E'\nPERFORM hologres.strip_grants(''TABLE'', %L);', made)
        || format(E'\nPERFORM hologres.name_copied_indexes(%s, pg_catalog.to_regclass(%L));', rel, made)
        || format(E'\nPERFORM hologres.drop_unproved_not_nulls(%s, pg_catalog.to_regclass(%L));', rel, made)
        || E'\n' || hologres.author_settings(id)
        || format(E'\nPERFORM hologres.apply_actions(pg_catalog.to_regclass(%L), %L, %L);', made,
                  t.params -> 'actions', t.params ->> 'search_path')
        || E'\nPERFORM pg_catalog.set_config(''search_path'', ''pg_catalog, pg_temp'', true);'
        || E'\nPERFORM pg_catalog.set_config(''row_security'', ''on'', true);'
        || format(E'\nPERFORM hologres.apply_properties(pg_catalog.to_regclass(%L), %L);', made,
                  hologres.task_properties(id))
        || CASE WHEN hidden IS NULL THEN ''
           ELSE format(E'\nEXECUTE %L;', format('ALTER TABLE %s %s', made, hidden)) END
        || format(E'\nINSERT INTO pg_temp.rebuild_out (value) '
                  'SELECT hologres.strip_copy(%s, pg_catalog.to_regclass(%L), %L, %L);', rel, made, copy,
                  parted)
        || CASE WHEN NOT parted THEN ''
           ELSE format(E'\nPERFORM hologres.partition_copy(%s, pg_catalog.to_regclass(%L), %L, %L);', rel,
                       made, copy, parts) END;
END $$;

-- Puts a partitioned table without partitions in the place of the plain one. parts: the columns whose
-- values get partitions; NULL: it is divided as the source.
DROP FUNCTION IF EXISTS hologres.partition_copy(oid, text, text[]);
CREATE OR REPLACE FUNCTION hologres.partition_copy(rel oid, made oid, copy text, parts text[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    statement text;
    col text;
BEGIN
    EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL EXCLUDING STATISTICS) PARTITION BY %s%s',
                   copy, hologres.qualified_name(made),
                   coalesce('LIST (' || quote_ident(parts[1]) || ')', pg_get_partkeydef(rel)),
                   (SELECT format(' TABLESPACE %I', s.spcname) FROM pg_class c
                      JOIN pg_tablespace s ON s.oid = c.reltablespace WHERE c.oid = made));
    PERFORM hologres.strip_grants('TABLE', copy);
    FOREACH col IN ARRAY coalesce(parts, '{}') LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL', copy, col);
    END LOOP;
    PERFORM hologres.name_copied_constraints(rel, copy::regclass);
    FOR statement IN
        SELECT format('ALTER SEQUENCE %s OWNED BY %s.%I', hologres.qualified_name(d.objid), copy, a.attname)
          FROM pg_depend d JOIN pg_class q ON q.oid = d.objid AND q.relkind = 'S'
          JOIN pg_attribute a ON a.attrelid = made AND a.attnum = d.refobjsubid
         WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
           AND d.refobjid = made AND d.deptype = 'a' LOOP
        EXECUTE statement;
    END LOOP;
    EXECUTE format('DROP TABLE %s', hologres.qualified_name(made));
END $$;

-- Makes the partitions of these values, an array of arrays, that are not there yet.
CREATE OR REPLACE FUNCTION hologres.add_partitions(copy oid, parts text[], list jsonb, base text, options text)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    c pg_class := (SELECT c FROM pg_class c WHERE c.oid = copy);
    schema text := (SELECT quote_ident(nspname) FROM pg_namespace WHERE oid = c.relnamespace);
    value jsonb;
    parent oid;
    level integer;
    child text;
    bound text;
    had integer := (SELECT count(*) FROM pg_partition_tree(copy));
BEGIN
    FOR value IN SELECT v FROM jsonb_array_elements(list) v ORDER BY v LOOP
        parent := copy;
        FOR level IN 1 .. cardinality(parts) LOOP
            IF value ->> (level - 1) IS NULL THEN
                RAISE EXCEPTION 'column "%" contains null values', parts[level]
                    USING ERRCODE = '23502',
                          DETAIL = 'The key of a partitioned table cannot be null.';
            END IF;
            bound := format('FOR VALUES IN (%L)', value ->> (level - 1));
            child := hologres.find_partition(parent, value ->> (level - 1));
            IF child IS NULL THEN
                had := had + 1;
                IF had > 5200 THEN
                    RAISE EXCEPTION 'Bulkload partition count exceed limit, partition count is %, limit is 5200',
                        jsonb_array_length(list) USING ERRCODE = '54000';
                END IF;
                child := schema || '.' || quote_ident(hologres.free_name(c.relnamespace, hologres.cut(
                    hologres.cut(base, 40) || '_' || coalesce(nullif(trim(both '_' FROM regexp_replace(
                        array_to_string(ARRAY(SELECT value ->> n FROM generate_series(0, level - 1) n), '_'),
                        '[^[:alnum:]]+', '_', 'g')), ''), 'x'), 58)));
                EXECUTE format('CREATE TABLE %s PARTITION OF %s %s %s', child,
                    hologres.qualified_name(parent), bound,
                    CASE WHEN level < cardinality(parts) THEN format('PARTITION BY LIST (%I)', parts[level + 1])
                    ELSE options END);
                PERFORM hologres.strip_grants('TABLE', child);
                EXECUTE format('COMMENT ON TABLE %s IS %L', child, 'partition ' || (value ->> (level - 1)));
            END IF;
            parent := child::regclass;
        END LOOP;
    END LOOP;
END $$;

-- The partition of a value, by the comment that add_partitions leaves while the rebuild goes on.
CREATE OR REPLACE FUNCTION hologres.find_partition(parent oid, value text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT hologres.qualified_name(i.inhrelid) FROM pg_inherits i
     WHERE i.inhparent = parent AND obj_description(i.inhrelid, 'pg_class') = 'partition ' || value
$$;

CREATE OR REPLACE FUNCTION hologres.apply_properties(copy oid, properties jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    statement text;
BEGIN
    FOR statement IN SELECT s FROM hologres.property_statements(copy, hologres.qualified_name(copy),
                                                                properties) s LOOP
        EXECUTE statement;
    END LOOP;
END $$;

-- What the copy was made from: the parts of the definition that are not carried over afresh.
CREATE OR REPLACE FUNCTION hologres.definition_of(rel oid) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
    SELECT md5(concat_ws(E'\n',
        (SELECT concat_ws(' ', relname, relnamespace, relowner, relkind, relpersistence, relam,
                          reltablespace, reloptions::text, pg_get_partkeydef(oid)) FROM pg_class WHERE oid = rel),
        (SELECT string_agg(concat_ws(' ', attnum, attname, atttypid, atttypmod, attcollation, attnotnull,
                    attidentity, attgenerated, attstorage, attcompression, pg_get_expr(adbin, adrelid)),
                    E'\n' ORDER BY attnum)
           FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
          WHERE attrelid = rel AND attnum > 0 AND NOT attisdropped),
        (SELECT string_agg(concat_ws(' ', conname, pg_get_constraintdef(oid)), E'\n' ORDER BY conname)
           FROM pg_constraint WHERE conrelid = rel AND contype IN ('c', 'n', 'p', 'u', 'x')),
        (SELECT string_agg(pg_get_indexdef(indexrelid) || indisvalid, E'\n' ORDER BY indexrelid)
           FROM pg_index WHERE indrelid = rel)))
$$;

-- Row security that is forced on the owner hides rows from the copy, too. PostgreSQL's own rewrite of a table
-- sees them all, and so does a view of a role that row security does not hold; only the owner may read it.
CREATE OR REPLACE FUNCTION hologres.is_row_security_forced(rel oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.relrowsecurity AND c.relforcerowsecurity AND NOT (o.rolbypassrls OR o.rolsuper)
      FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner WHERE c.oid = rel
$$;
CREATE OR REPLACE FUNCTION hologres.rows_of(id text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('hologres.%I', relname) FROM pg_class
     WHERE relnamespace = 'hologres'::regnamespace AND relname = 'rebuild_rows_' || id
$$;
CREATE OR REPLACE FUNCTION hologres.open_rows(id text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c pg_class := (SELECT c FROM hologres.rebuild r JOIN pg_class c ON c.oid = r.relid WHERE r.query_id = id);
    name text := format('hologres.%I', 'rebuild_rows_' || id);
BEGIN
    IF hologres.is_row_security_forced(c.oid) THEN
        EXECUTE format('CREATE VIEW %s AS SELECT ctid AS tmp_rebuild_ctid, * FROM %s %s', name,
                       CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY' END, hologres.qualified_name(c.oid));
        PERFORM hologres.strip_grants('TABLE', name);
        EXECUTE format('GRANT SELECT ON %s TO %I', name, pg_get_userbyid(c.relowner));
    END IF;
END $$;

CREATE OR REPLACE FUNCTION hologres.take_copy(id text, plan jsonb) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT hologres.open_rows(id);
    UPDATE hologres.rebuild r
       SET plan = take_copy.plan,
           new_relid = (SELECT oid FROM pg_class WHERE relnamespace = c.relnamespace
                           AND relname = hologres.new_table_name(id, r.relid)),
           fingerprint = hologres.definition_of(r.relid),
           capture = CASE WHEN hologres.find_key(r.relid) IS NULL THEN 'readonly' ELSE 'key' END
      FROM pg_class c WHERE r.query_id = id AND c.oid = r.relid
$$;

-- get_src_table_snapshot -----------------------------------------------------------------------------

-- The log of changed keys and the functions that fill it. The functions belong to the service role and
-- hold no operator but *<>, which compares bytes, whatever the type: so whoever writes to the table can do nothing
-- with them but log a key. An update that changes the key logs both: asked here, since PostgreSQL compiles the
-- WHEN of a trigger again for each statement, which costs as much as the rest. A row of nulls says TRUNCATE. The table's owner reads and empties the log, and adds the keys of partitions that come and go.
CREATE OR REPLACE FUNCTION hologres.log_statements(id text) RETURNS SETOF text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    rel oid := (SELECT relid FROM hologres.rebuild WHERE query_id = id);
    owner text := (SELECT quote_ident(pg_get_userbyid(relowner)) FROM pg_class WHERE oid = rel);
    log text := 'hologres.rebuild_log_' || id;
    kind text;
    columns text;
    new_key text;
    old_key text;
    nulls text;
    body text;
BEGIN
    SELECT string_agg(format('k%s %s', n, type), ', ' ORDER BY n),
           string_agg(format('NEW.%I', name), ', ' ORDER BY n),
           string_agg(format('OLD.%I', name), ', ' ORDER BY n), string_agg('NULL', ', ')
      INTO columns, new_key, old_key, nulls FROM hologres.key_columns(rel, '[]');
    RETURN NEXT format('CREATE TABLE %s (%s) WITH (autovacuum_enabled = off)', log, columns);
    RETURN NEXT format('GRANT SELECT, INSERT, DELETE ON %s TO %s', log, owner);
    FOREACH kind IN ARRAY '{new,old,update,truncate}'::text[] LOOP
        body := format('INSERT INTO %s VALUES (%s);', log, CASE kind WHEN 'old' THEN old_key WHEN 'truncate' THEN nulls
                                                           ELSE new_key END);
        IF kind = 'update' THEN
            body := format('IF (ROW(%s))::pg_catalog.record OPERATOR(pg_catalog.*<>) (ROW(%s))::pg_catalog.record THEN '
                           'INSERT INTO %s VALUES (%s); END IF; %s', old_key, new_key, log, old_key, body);
        END IF;
        RETURN NEXT format('CREATE FUNCTION %s_%s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER '
            'AS %L', log, kind, 'BEGIN ' || body || ' RETURN NULL; END');
        RETURN NEXT format('REVOKE ALL ON FUNCTION %s_%s() FROM PUBLIC', log, kind);
        -- a partition that he attaches gets the triggers
        RETURN NEXT format('GRANT EXECUTE ON FUNCTION %s_%s() TO %s', log, kind, owner);
    END LOOP;
END $$;

-- The triggers.
CREATE OR REPLACE FUNCTION hologres.capture_statements(id text) RETURNS SETOF text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    rel oid := (SELECT relid FROM hologres.rebuild WHERE query_id = id);
    target text := hologres.qualified_name(rel);
    name text := 'tmp_rebuild_' || id;
    log text := 'hologres.rebuild_log_' || id;
BEGIN
    RETURN NEXT format('CREATE TRIGGER %I AFTER INSERT ON %s FOR EACH ROW '
                       'EXECUTE FUNCTION %s_new()', name || '_1', target, log);
    RETURN NEXT format('CREATE TRIGGER %I AFTER DELETE ON %s FOR EACH ROW EXECUTE FUNCTION %s_old()',
                       name || '_2', target, log);
    RETURN NEXT format('CREATE TRIGGER %I AFTER UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION %s_update()',
                       name || '_3', target, log);
    RETURN NEXT format('CREATE TRIGGER %I AFTER TRUNCATE ON %s EXECUTE FUNCTION %s_truncate()',
                       name || '_4', target, log);
    RETURN QUERY SELECT s FROM hologres.truncate_statements(id) s;
    RETURN NEXT format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I, ENABLE ALWAYS TRIGGER %I, '
                       'ENABLE ALWAYS TRIGGER %I, ENABLE ALWAYS TRIGGER %I', target, name || '_1',
                       name || '_2', name || '_3', name || '_4');
END $$;

-- Are all four there, and were they never disabled? ENABLE TRIGGER ALL does not make them ALWAYS again.
-- Partitions have the first three from their parent and the last as their own.
CREATE OR REPLACE FUNCTION hologres.is_captured(id text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT bool_and((SELECT count(*) = 4 FROM pg_trigger g WHERE g.tgrelid = node AND g.tgenabled = 'A'
                        AND g.tgname LIKE 'tmp\_rebuild\_' || id || '\__'))
      FROM (SELECT relid AS node FROM hologres.rebuild WHERE query_id = id
            UNION ALL
            SELECT t.relid FROM hologres.rebuild r, pg_partition_tree(r.relid) t
              JOIN hologres.rebuild_child c ON c.relid = t.relid
             WHERE r.query_id = id AND c.query_id = id AND t.level > 0) AS nodes
$$;

-- Cuts the table as it is now, each partition apart. Rows beyond an end come with the log. Rows that are
-- sorted are sorted as a whole: one slice for each table of the copy that they go to, as far as is known.
-- A small table is cut so that all connections have something to do, at the end, too.
CREATE OR REPLACE FUNCTION hologres.cut_slices(id text) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    rel oid := (SELECT relid FROM hologres.rebuild WHERE query_id = id);
    sources oid[] := ARRAY(SELECT hologres.leaves_of(rel));
    bytes bigint := (SELECT sum(pg_relation_size(s)) FROM unnest(sources) s);
    -- without a range scan of ctid a slice would read all of the table
    step bigint := CASE WHEN current_setting('server_version_num')::integer < 140000 THEN 4294967296
                   ELSE least(hologres.own_setting(id, 'slice_mb') * 1048576::bigint,
                              greatest(bytes / (3 * hologres.own_setting(id, 'workers')), 2097152))
                        / current_setting('block_size')::bigint END;
BEGIN
    DELETE FROM hologres.rebuild_slice WHERE query_id = id;
    IF hologres.order_of(id) IS NOT NULL THEN
        step := 4294967296;
        IF hologres.partition_list(id) IS NOT NULL THEN
            sources := ARRAY[rel];
        END IF;
    END IF;
    INSERT INTO hologres.rebuild_slice (query_id, slice, relid, from_block, to_block, file)
    SELECT id, row_number() OVER (ORDER BY n, b), leaf, b, least(b + step, 4294967295), hologres.file_of(leaf)
      FROM unnest(sources) WITH ORDINALITY u(leaf, n), generate_series(0, greatest(CASE
           WHEN step > 4294967295 THEN 0 ELSE pg_relation_size(leaf)
           / current_setting('block_size')::bigint - 1 END, 0), step) b;
    UPDATE hologres.rebuild_step s
       SET progress = '0/' || greatest((SELECT count(*) FROM hologres.rebuild r, hologres.leaves_of(r.new_relid)
                                         WHERE r.query_id = id), 1)
     WHERE s.query_id = id AND s.step = 'insert';
    RETURN (SELECT count(*) FROM hologres.rebuild_slice WHERE query_id = id);
END $$;

-- Was something that is cut written anew, or dropped?
CREATE OR REPLACE FUNCTION hologres.is_moved(id text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT coalesce(bool_or(s.file IS DISTINCT FROM hologres.file_of(s.relid)), false)
      FROM (SELECT DISTINCT relid, file FROM hologres.rebuild_slice WHERE query_id = id) AS s
$$;

-- ORDER BY of clustering_key, among the task's properties; NULL: none.
CREATE OR REPLACE FUNCTION hologres.order_of(id text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT hologres.order_list(p ->> 'value')
      FROM jsonb_array_elements(hologres.task_properties(id)) WITH ORDINALITY e(p, n)
     WHERE p ->> 'name' = 'clustering_key' AND p ->> 'value' <> '' ORDER BY n DESC LIMIT 1
$$;

-- insert, re-insert ------------------------------------------------------------------------------------

-- INSERT INTO copy (…) and the select list that goes with it.
CREATE OR REPLACE FUNCTION hologres.insert_parts(id text, OUT target text, OUT list text, OUT source text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    r hologres.rebuild := (SELECT r FROM hologres.rebuild r WHERE r.query_id = id);
    actions jsonb := (SELECT params -> 'actions' FROM pgveneer.task WHERE task_id = id);
    alias text := (SELECT quote_ident(relname) FROM pg_class WHERE oid = r.relid);
BEGIN
    SELECT string_agg(quote_ident(x.name), ', ' ORDER BY x.n), string_agg(x.expression, ', ' ORDER BY x.n)
      INTO target, list
      FROM (SELECT c.attnum AS n, c.attname::text AS name, coalesce((
                   SELECT '(' || (a ->> 'using') || ')' FROM jsonb_array_elements(actions) a
                    WHERE a ->> 'do' = 'type' AND a ->> 'column' = c.attname AND a ? 'using'),
                   alias || '.' || quote_ident(c.attname)) AS expression
              FROM pg_attribute c JOIN pg_attribute s ON s.attrelid = r.relid AND s.attname = c.attname
                                                     AND s.attnum > 0 AND NOT s.attisdropped
             WHERE c.attrelid = r.new_relid AND c.attnum > 0 AND NOT c.attisdropped
               AND c.attgenerated = ''
            UNION ALL
            SELECT 10000 + k.n, k.kept, alias || '.' || quote_ident(k.name)
              FROM hologres.key_columns(r.relid, actions) k WHERE k.converted) AS x;
    target := format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE', hologres.qualified_name(r.new_relid),
                     target);
    source := format('FROM %s AS %s', coalesce(hologres.rows_of(id), CASE WHEN EXISTS (SELECT FROM pg_class
                         WHERE oid = r.relid AND relkind = 'p') THEN '' ELSE 'ONLY ' END
                         || hologres.qualified_name(r.relid)), alias);
END $$;

-- WITH (…) of the copy's partitions.
CREATE OR REPLACE FUNCTION hologres.option_list(plan jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce('WITH (' || string_agg(o, ', ') || ')', '')
      FROM jsonb_array_elements_text(nullif(plan -> 'options', 'null')) o
$$;

-- PL/pgSQL that makes the partitions for the rows of `source`; needs the variable tmp_rebuild_v.
CREATE OR REPLACE FUNCTION hologres.partitions_block(id text, source text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
DECLARE
    r hologres.rebuild := (SELECT r FROM hologres.rebuild r WHERE r.query_id = id);
    t pgveneer.task := (SELECT t FROM pgveneer.task t WHERE t.task_id = id);
    c pg_class := (SELECT c FROM pg_class c WHERE c.oid = r.relid);
    parts text[] := hologres.partition_list(id);
    list text := (SELECT string_agg('(' || coalesce((
                        SELECT '(' || (a ->> 'using') || ')'
                          FROM jsonb_array_elements(t.params -> 'actions') a
                         WHERE a ->> 'do' = 'type' AND a ->> 'column' = p AND a ? 'using'),
                        format('%I.%I', c.relname, p)) || ')::pg_catalog.text', ', ' ORDER BY n)
                    FROM unnest(parts) WITH ORDINALITY u(p, n));
    options text := hologres.option_list(r.plan);
    base text := CASE c.relkind WHEN 'p' THEN 'tmp_rebuild_new_' || id ELSE c.relname END; -- till the swap
BEGIN
    IF parts IS NULL THEN
        RETURN '';
    END IF;
    RETURN hologres.author_settings(id)
        || format(E'\nEXECUTE %L INTO tmp_rebuild_v;', format(
            'SELECT pg_catalog.jsonb_agg(DISTINCT pg_catalog.jsonb_build_array(%s)) %s', list, source))
        || format(E'\nPERFORM hologres.add_partitions(%s, %L, coalesce(tmp_rebuild_v, ''[]''), %L, %L);\n',
                  r.new_relid, parts, base, options);
END $$;

-- The partitions for all rows that are there.
CREATE OR REPLACE FUNCTION hologres.partitions_body(id text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'DECLARE tmp_rebuild_v pg_catalog.jsonb; BEGIN' || E'\n'
        || hologres.partitions_block(id, (SELECT p.source FROM hologres.insert_parts(id) p)) || 'END;'
$$;

CREATE OR REPLACE FUNCTION hologres.slice_body(id text, number integer) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parts record := hologres.insert_parts(id);
    s hologres.rebuild_slice := (SELECT s FROM hologres.rebuild_slice s
                                  WHERE s.query_id = id AND s.slice = number);
    rel oid := (SELECT relid FROM hologres.rebuild WHERE query_id = id);
    alias text := (SELECT quote_ident(relname) FROM pg_class WHERE oid = rel);
    source text := CASE s.relid WHEN rel THEN parts.source
                   ELSE format('FROM ONLY %s AS %s', hologres.qualified_name(s.relid), alias) END;
    whole boolean := s.from_block = 0 AND s.to_block >= 4294967295;
BEGIN
    RETURN hologres.author_settings(id) || format(E'\nEXECUTE %L;', concat_ws(' ', parts.target, 'SELECT',
        parts.list, source,
        CASE WHEN NOT whole THEN format(
            'WHERE %1$s.%4$s OPERATOR(pg_catalog.>=) ''(%2$s,0)''::pg_catalog.tid '
            'AND %1$s.%4$s OPERATOR(pg_catalog.<) ''(%3$s,0)''::pg_catalog.tid', alias,
            s.from_block, s.to_block, CASE WHEN s.relid = rel AND hologres.rows_of(id) IS NOT NULL
                                           THEN 'tmp_rebuild_ctid' ELSE 'ctid' END) END,
        'ORDER BY ' || hologres.order_of(id)));
END $$;

-- Brings the copy to the source's state, in one statement, hence one snapshot: keys that are logged
-- and visible go from the log and from the copy, and come back from the source as it is. So neither the
-- order of changes nor gaps between their commits matter, and unique indexes of the copy never see
-- a mixture of two moments. The number of keys goes to pg_temp.rebuild_out; -1 says TRUNCATE was logged.
CREATE OR REPLACE FUNCTION hologres.round_body(id text, small boolean) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    r hologres.rebuild := (SELECT r FROM hologres.rebuild r WHERE r.query_id = id);
    parts record := hologres.insert_parts(id);
    actions jsonb := (SELECT params -> 'actions' FROM pgveneer.task WHERE task_id = id);
    alias text := (SELECT quote_ident(relname) FROM pg_class WHERE oid = r.relid);
    copy text := hologres.qualified_name(r.new_relid);
    keys text;
    of_copy text;
    of_source text;
BEGIN
    SELECT string_agg('k' || n, ', ' ORDER BY n),
           string_agg(format('tmp_rebuild_c.%I %s tmp_rebuild_k.k%s', kept, operator, n), ' AND '),
           string_agg(format('%s.%I %s tmp_rebuild_k.k%s', alias, name, operator, n), ' AND ')
      INTO keys, of_copy, of_source FROM hologres.key_columns(r.relid, actions);
    RETURN 'DECLARE tmp_rebuild_n pg_catalog.int8; tmp_rebuild_t pg_catalog.int8; '
           'tmp_rebuild_v pg_catalog.jsonb; BEGIN' || E'\n'
        || hologres.partitions_block(id, format('%s, (SELECT DISTINCT %s FROM hologres.rebuild_log_%s) '
               'tmp_rebuild_k WHERE %s', parts.source, keys, id, of_source))
        || hologres.author_settings(id) || E'\n'
        || CASE WHEN small THEN 'PERFORM pg_catalog.set_config(''enable_hashjoin'', ''off'', true);'
                   'PERFORM pg_catalog.set_config(''enable_mergejoin'', ''off'', true);'
                   'PERFORM pg_catalog.set_config(''jit'', ''off'', true);'
           ELSE '' END
        || format(E'\nEXECUTE %L INTO tmp_rebuild_n, tmp_rebuild_t;', format(
            'WITH tmp_rebuild_l AS (DELETE FROM hologres.rebuild_log_%s RETURNING *), '
            'tmp_rebuild_k AS MATERIALIZED (SELECT DISTINCT %s FROM tmp_rebuild_l WHERE k1 IS NOT NULL), '
            'tmp_rebuild_d AS (DELETE FROM %s tmp_rebuild_c USING tmp_rebuild_k WHERE %s RETURNING 1), '
            'tmp_rebuild_i AS (%s SELECT %s %s, tmp_rebuild_k WHERE %s AND '
            '(SELECT pg_catalog.count(*) FROM tmp_rebuild_d) OPERATOR(pg_catalog.>=) 0 RETURNING 1) '
            'SELECT (SELECT pg_catalog.count(*) FROM tmp_rebuild_k), '
            '(SELECT pg_catalog.count(*) FROM tmp_rebuild_l WHERE k1 IS NULL)',
            id, keys, copy, of_copy, parts.target, parts.list, parts.source, of_source))
        || E'\nINSERT INTO pg_temp.rebuild_out (value) SELECT pg_catalog.to_jsonb(CASE '
           'WHEN tmp_rebuild_t OPERATOR(pg_catalog.>) 0 THEN -1 ELSE tmp_rebuild_n END); END;';
END $$;

-- After TRUNCATE: everything anew.
CREATE OR REPLACE FUNCTION hologres.reload_body(id text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parts record := hologres.insert_parts(id);
BEGIN
    RETURN 'DECLARE tmp_rebuild_v pg_catalog.jsonb; BEGIN' || E'\n'
        || hologres.partitions_block(id, parts.source) || hologres.author_settings(id)
        || format(E'\nEXECUTE %L;', 'TRUNCATE ' || (SELECT hologres.qualified_name(new_relid)
                                                   FROM hologres.rebuild WHERE query_id = id))
        || format(E'\nEXECUTE %L;', format(
            'WITH tmp_rebuild_l AS (DELETE FROM hologres.rebuild_log_%s RETURNING 1) '
            '%s SELECT %s %s WHERE (SELECT pg_catalog.count(*) FROM tmp_rebuild_l) '
            'OPERATOR(pg_catalog.>=) 0', id, parts.target, parts.list, parts.source)) || ' END;';
END $$;

DROP FUNCTION IF EXISTS hologres.missing_indexes(text);
-- Indexes that are not there yet, or not the constraints that they are for; those with the most work first: what
-- the source does not have, then by their size there. is_alone: nothing else can be built on the copy meanwhile.
CREATE OR REPLACE FUNCTION hologres.indexes_to_build(id text)
    RETURNS TABLE (definition text, is_alone boolean, constraint_statement text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
    WITH r AS (SELECT r.*, t.params -> 'actions' AS actions FROM hologres.rebuild r
                 JOIN pgveneer.task t ON t.task_id = r.query_id WHERE r.query_id = id),
    found AS (SELECT c.oid, c.relname FROM r JOIN pg_index x ON x.indrelid = r.new_relid
                JOIN pg_class c ON c.oid = x.indexrelid),
    due AS (
        SELECT CASE WHEN f.oid IS NULL THEN p ->> 'create' END AS definition, p ->> 'create' LIKE 'ALTER %' AS is_alone,
               p ->> 'constraint' AS constraint_statement, p ->> 'source' AS source, n
          FROM r, jsonb_array_elements(r.plan -> 'indexes') WITH ORDINALITY e(p, n)
          LEFT JOIN found f ON f.relname = p ->> 'tmp_name'
         WHERE f.oid IS NULL OR p ->> 'constraint' IS NOT NULL
               AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = f.oid AND k.contype IN ('p', 'u'))
        UNION ALL
        SELECT format('CREATE INDEX %I ON %s (%s)', 'tmp_rebuild_' || id || '_key', hologres.qualified_name(r.new_relid),
                      (SELECT string_agg(quote_ident(kept), ', ' ORDER BY k.n)
                         FROM hologres.key_columns(r.relid, r.actions) k)), false, NULL, '', 0
          FROM r
         WHERE r.capture = 'key' AND NOT EXISTS (SELECT FROM found WHERE relname = 'tmp_rebuild_' || id || '_key')
           AND NOT EXISTS ( -- an index that finds rows by these columns is there or will be
               SELECT FROM jsonb_array_elements(r.plan -> 'indexes') p
                WHERE (p ->> 'plain')::boolean AND (p ->> 'btree')::boolean
                  AND ARRAY(SELECT jsonb_array_elements_text(p -> 'columns') LIMIT (
                            SELECT count(*) FROM hologres.key_columns(r.relid, r.actions)))
                   @> ARRAY(SELECT kept FROM hologres.key_columns(r.relid, r.actions))))
    SELECT definition, is_alone, constraint_statement FROM due
     ORDER BY CASE WHEN source ~ '^\d{1,9}$' THEN (
                  SELECT sum(pg_relation_size(x)) FROM (SELECT source::oid UNION
                         SELECT relid FROM pg_partition_tree(source::oid)) AS tree(x)) END DESC NULLS FIRST, n
$$;

-- Whether statistics have to be collected. early: before there are indexes; what an expression's values are is known
-- only then.
CREATE OR REPLACE FUNCTION hologres.can_be_analyzed(id text, early boolean) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT NOT plan ? 'analyzed' AND NOT (early AND EXISTS (
               SELECT FROM jsonb_array_elements(plan -> 'indexes') p WHERE NOT (p ->> 'plain')::boolean))
      FROM hologres.rebuild WHERE query_id = id
$$;
