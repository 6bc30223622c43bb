-- SELECT on a Hudi foreign table brings the columns that the statement can reach, not all
-- (009_hudi_scan.sql; docs/sql-on-hudi.md).
--
-- A scan hands the text of the client's statement to the job, which reads in it what may be reached.
-- The text tells all of it only where the scan stands in that statement itself: not in a function, a
-- view, a rule, a policy, or a cursor that runs later. That is asked here, in the session, which alone
-- sees what its transaction made. In doubt no text goes, and all columns are brought.
--
-- A copy remembers its columns and the statements (their md5) that it was found to be enough for.
-- A statement that needs more has the copy made again, with the columns of both.
ALTER TABLE pgveneer.hudi_copy
    ADD COLUMN columns    smallint[],               -- numbers of those that it has; NULL: all
    ADD COLUMN statements text[] NOT NULL DEFAULT '{}',
    ADD COLUMN file_count bigint NOT NULL DEFAULT 0; -- of the table, that were read for it

CREATE OR REPLACE FUNCTION pgveneer.request_share(category text, params jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN category = 'HudiRequest' AND params ->> 'kind' = 'scan' THEN
        concat('scan ', pgveneer.hudi_copy_key((params ->> 'ftable_oid')::oid, params -> 'shown'), ' ',
               md5(params ->> 'statement')) END
$$;

-- Is the view as CREATE FOREIGN TABLE makes it? Its owner may have put another one in its place, whose
-- columns are not those of the Hudi table that have their names.
CREATE FUNCTION pgveneer.is_plain_hudi_view(rel oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
    SELECT ltrim(regexp_replace(replace(pg_get_viewdef(rel), 'hudi_scan.', ''), '\s+', ' ', 'g'))
           LIKE concat('SELECT ', string_agg(quote_ident(attname), ', ' ORDER BY attnum),
                       ' FROM pgveneer.hudi_scan(%) hudi_scan(',
                       string_agg(quote_ident(attname) || ' %', ', ' ORDER BY attnum), ')%')
      FROM pg_attribute WHERE attrelid = rel AND attnum > 0
$$;

-- Does one of these relations or functions bring more into a statement than its text says? Views, rules
-- and policies do; SQL functions in FROM, which PostgreSQL replaces by their body; and functions in C, that
-- may run a query without a trace in the error context (as ts_stat does).
CREATE FUNCTION pgveneer.hides_text(c pg_class) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.oid >= 16384 AND (c.relhasrules OR c.relrowsecurity)
       AND NOT (c.relkind = 'v' AND pgveneer.is_hudi_relation(c.oid))
$$;
CREATE FUNCTION pgveneer.hides_text(p pg_proc) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.oid >= 16384 AND NOT EXISTS (
        SELECT FROM pg_language l WHERE l.oid = p.prolang
           AND (l.lanname IN ('plpgsql', 'plpython3u', 'plperl', 'plperlu', 'pltcl', 'pltclu')
                OR l.lanname = 'sql' AND NOT p.proretset))
$$;

-- The statement that the client sent, where it is the scan's own; else NULL. context: of hudi_scan
-- (PG_CONTEXT); a line more, and something is between.
CREATE FUNCTION pgveneer.hudi_statement(rel oid, context text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    statement constant text := current_query();
    words text[];
BEGIN
    IF statement IS NULL OR position(E'\n' IN context) > 0 OR octet_length(statement) > 16384
       OR current_setting('standard_conforming_strings') <> 'on' OR statement ~* 'u&"'
       OR NOT coalesce(pgveneer.is_plain_hudi_view(rel), false)
       -- one that is open past its transaction is read to its end when that ends
       OR EXISTS (SELECT FROM pg_cursors WHERE is_holdable AND creation_time >= transaction_timestamp()) THEN
        RETURN NULL;
    END IF;
    words := ARRAY(SELECT DISTINCT lower(w[1] COLLATE "C") FROM regexp_matches(statement, '[a-zA-Z0-9_$]+', 'g') w);
    IF words && '{hudi_scan,ts_stat,ts_rewrite,cursor_to_xml,cursor_to_xmlschema}'
       OR EXISTS (SELECT FROM pg_class c WHERE c.relname = ANY (words::name[]) AND pgveneer.hides_text(c))
       OR EXISTS (SELECT FROM pg_proc p WHERE p.proname = ANY (words::name[]) AND pgveneer.hides_text(p)) THEN
        RETURN NULL;
    END IF;
    -- names that are not words
    IF statement ~ '"|[^\x01-\x7f]'
       AND (EXISTS (SELECT FROM pg_class c
                     WHERE c.relname !~ '^[a-z0-9_$]+$' AND pgveneer.is_in_text(c.relname, statement)
                       AND pgveneer.hides_text(c))
            OR EXISTS (SELECT FROM pg_proc p
                        WHERE p.proname !~ '^[a-z0-9_$]+$' AND pgveneer.is_in_text(p.proname, statement)
                          AND pgveneer.hides_text(p))) THEN
        RETURN NULL;
    END IF;
    RETURN statement;
END $$;
CREATE FUNCTION pgveneer.is_in_text(name name, statement text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT position(lower(replace(name::text, '"', '""') COLLATE "default")
                    IN lower(statement COLLATE "default")) > 0
$$;

-- A copy that was checked in this statement and has what it needs.
DROP FUNCTION pgveneer.find_hudi_copy(oid, jsonb);
CREATE FUNCTION pgveneer.find_hudi_copy(rel oid, shown jsonb, statement text) RETURNS text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
DECLARE
    key constant text := pgveneer.hudi_copy_key(rel, shown);
    params constant jsonb := jsonb_strip_nulls(jsonb_build_object(
        'kind', 'scan', 'ftable_oid', rel::bigint, 'shown', shown, 'statement', statement));
    name text;
BEGIN
    FOR attempt IN 0 .. 9 LOOP
        IF attempt > 0 THEN
            PERFORM pgveneer.ask('HudiRequest', params);
        END IF;
        SELECT c.table_name INTO name FROM pgveneer.hudi_copy c
         WHERE c.copy_key = key AND c.checked_at >= statement_timestamp()
           AND (c.columns IS NULL OR md5(statement) = ANY (c.statements));
        CONTINUE WHEN NOT FOUND; -- asked along with others who came earlier: once more
        BEGIN
            EXECUTE format('SELECT FROM pgveneer.%I LIMIT 0', name);
            RETURN name; -- locked from here on: nobody drops it
        EXCEPTION WHEN undefined_table THEN -- a newer one came in between
        END;
    END LOOP;
    RAISE EXCEPTION 'the Hudi table of "%" changes too fast to be read', pgveneer.qualified_name(rel)
        USING ERRCODE = '40001';
END $$;

CREATE OR REPLACE FUNCTION pgveneer.hudi_scan(relid oid) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE ROWS 100000 SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
DECLARE
    context text;
    name text;
    list text;
BEGIN
    GET DIAGNOSTICS context = PG_CONTEXT;
    PERFORM pgveneer.check_hudi_source(relid);
    name := pgveneer.find_hudi_copy(relid, pgveneer.hudi_shown(relid), pgveneer.hudi_statement(relid, context));
    SELECT string_agg(CASE WHEN k.attname IS NULL THEN 'NULL::' || format_type(a.atttypid, a.atttypmod)
                           WHEN k.atttypid = a.atttypid AND k.atttypmod = a.atttypmod THEN 'k.' || k.attname
                           ELSE format('k.%s::%s', k.attname, format_type(a.atttypid, a.atttypmod)) END,
                      ', ' ORDER BY a.attnum)
      INTO list
      FROM pg_attribute a
      LEFT JOIN pg_attribute k ON k.attrelid = format('pgveneer.%I', name)::regclass AND k.attname = 'c' || a.attnum
     WHERE a.attrelid = hudi_scan.relid AND a.attnum > 0 AND NOT a.attisdropped;
    RETURN QUERY EXECUTE format('SELECT %s FROM pgveneer.%I k', list, name);
END $$;

-- The side of the job: called by the service role -------------------------------------------------

-- What a request shows, without the text of the statement, which is nobody's business once it is read.
CREATE FUNCTION pgveneer.open_hudi_scan(task text, statement text, OUT copy_key text, OUT said text,
                                        OUT checked timestamptz)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    params jsonb;
BEGIN
    UPDATE pgveneer.task t SET params = t.params - 'statement' WHERE t.task_id = task RETURNING t.params INTO params;
    copy_key := pgveneer.hudi_copy_key((params ->> 'ftable_oid')::oid, params -> 'shown');
    said := md5(statement);
    checked := clock_timestamp();
END $$;

-- Is there a copy of this state that has these columns (NULL: all)? Then it is the newest at `checked`, and
-- enough for what was said.
DROP FUNCTION pgveneer.check_hudi_copy(text, text, timestamptz);
CREATE FUNCTION pgveneer.check_hudi_copy(key text, of_state text, checked timestamptz, needed smallint[], said text)
    RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE pgveneer.hudi_copy c
       SET checked_at = greatest(c.checked_at, checked), used_at = clock_timestamp(),
           statements = CASE WHEN c.columns IS NULL OR said = ANY (c.statements) THEN c.statements
                             ELSE said || c.statements[1:99] END
     WHERE c.copy_key = key AND c.state = of_state AND (c.columns IS NULL OR needed <@ c.columns)
       AND to_regclass(format('pgveneer.%I', c.table_name)) IS NOT NULL;
    RETURN FOUND;
END $$;

-- One job at a time makes a copy. Has one been made, or found to be the newest, since the store was
-- looked at? columns: of the copy that there is; NULL: none, or all.
CREATE FUNCTION pgveneer.lock_hudi_copy(key text, looked timestamptz, OUT is_behind boolean, OUT columns smallint[])
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('pgveneer copy ' || key, 0));
    SELECT c.checked_at > looked, c.columns INTO is_behind, columns FROM pgveneer.hudi_copy c WHERE c.copy_key = key;
    is_behind := coalesce(is_behind, false);
END $$;

-- As in 009_hudi_scan.sql. What was enough for a statement is so with more columns.
DROP FUNCTION pgveneer.put_hudi_copy(text, oid, text, text, bigint, bigint, timestamptz, interval);
CREATE FUNCTION pgveneer.put_hudi_copy(key text, rel oid, name text, of_state text, rows bigint, bytes bigint,
                                       checked timestamptz, look_every interval, with_columns smallint[],
                                       said text, files bigint) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO pgveneer.hudi_copy AS c (copy_key, relid, table_name, state, row_count, byte_count, loaded_at,
                                         checked_at, used_at, columns, statements, file_count)
    VALUES (key, rel, name, of_state, rows, bytes, clock_timestamp(), checked, clock_timestamp(), with_columns,
            CASE WHEN with_columns IS NULL THEN '{}' ELSE ARRAY[said] END, files)
    ON CONFLICT (copy_key) DO UPDATE
       SET table_name = excluded.table_name, state = excluded.state, row_count = excluded.row_count,
           byte_count = excluded.byte_count, loaded_at = excluded.loaded_at,
           checked_at = excluded.checked_at, used_at = excluded.used_at, columns = excluded.columns,
           statements = CASE WHEN c.columns <@ excluded.columns
                             THEN excluded.statements || (array_remove(c.statements, said))[1:99]
                             ELSE excluded.statements END,
           file_count = excluded.file_count;
    DELETE FROM pgveneer.hudi_copy
     WHERE copy_key IN (SELECT c.copy_key FROM pgveneer.hudi_copy c WHERE c.relid = rel
                         ORDER BY c.used_at DESC OFFSET 8);
    INSERT INTO pgveneer.task (task_id, category, what, params, run_every, next_start_time)
    VALUES ('00000000-0000-0000-0000-00000000fffe', 'HudiRequest', 'drops old copies of Hudi tables',
            '{"kind": "sweep"}', look_every, clock_timestamp() + look_every)
    ON CONFLICT (task_id) DO UPDATE
       SET run_every = excluded.run_every, state = 'active',
           next_start_time = coalesce(least(task.next_start_time, excluded.next_start_time),
                                      excluded.next_start_time);
$$;

REVOKE ALL ON FUNCTION pgveneer.open_hudi_scan(text, text),
    pgveneer.check_hudi_copy(text, text, timestamptz, smallint[], text),
    pgveneer.lock_hudi_copy(text, timestamptz),
    pgveneer.put_hudi_copy(text, oid, text, text, bigint, bigint, timestamptz, interval, smallint[], text, bigint)
    FROM PUBLIC;
