-- The functions that need the store: hudi_sync, hudi_sync_custom, hudi_get_options,
-- hudi_get_max_commit, hudi_get_commit; and pg_show_custom_settings. DWS manual, "Hudi System
-- Functions"; spec/hudi.md sections 1.2 and 1.3. They ask a job (003_asking.sql) and show the store as
-- it is at the call.
DROP FUNCTION pgveneer.comes_later(text);
DROP PROCEDURE pgveneer.hudi_sync(regclass, regclass, text);
DROP PROCEDURE pgveneer.hudi_sync_custom(regclass, regclass, text, text);

-- Would row security or a rule come between the role and the table, which a synchronization writes as the
-- table's owner?
CREATE FUNCTION pgveneer.is_guarded_from(target oid, role oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM pg_class c, pg_roles r
                    WHERE c.oid = target AND r.oid = role AND c.relrowsecurity
                      AND NOT (r.rolsuper OR r.rolbypassrls
                               OR pg_has_role(role, c.relowner, 'USAGE') AND NOT c.relforcerowsecurity))
        OR EXISTS (SELECT FROM pg_rewrite WHERE ev_class = target AND ev_type IN ('2', '3', '4'))
        OR NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = target AND c.relkind IN ('r', 'p')
                          AND c.relnamespace::regnamespace::text NOT IN
                              ('pg_catalog', 'pg_toast', 'information_schema', 'pgveneer', 'hudi'))
$$;

-- What the proxy asks before it makes a task of a request. The functions below have asked more, in the
-- caller's name; here is what protects others from a message that somebody made up.
CREATE OR REPLACE FUNCTION pgveneer.check_request(role oid, category text, params jsonb) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source oid := params ->> 'ftable_oid';
    target oid := params ->> 'target_oid';
BEGIN
    IF category <> 'HudiRequest' THEN
        RAISE EXCEPTION 'nobody answers requests of category "%"', category USING ERRCODE = '0A000';
    ELSIF NOT coalesce(pgveneer.is_hudi_relation(source), false) THEN
        RAISE EXCEPTION 'relation with OID % is not a Hudi foreign table', coalesce(source, 0)
            USING ERRCODE = '42809';
    ELSIF NOT coalesce(has_table_privilege(role, source, 'SELECT'), false) THEN
        RAISE EXCEPTION 'permission denied for foreign table %', pgveneer.qualified_name(source)
            USING ERRCODE = '42501';
    ELSIF params ->> 'kind' = 'sync'
          AND NOT coalesce(has_table_privilege(role, target, 'INSERT')
                           AND has_table_privilege(role, target, 'UPDATE'), false) THEN
        RAISE EXCEPTION 'permission denied for table %', coalesce(pgveneer.qualified_name(target), '')
            USING ERRCODE = '42501';
    ELSIF params ->> 'kind' = 'sync' AND pgveneer.is_guarded_from(target, role) THEN
        RAISE EXCEPTION 'cannot synchronize into "%"', pgveneer.qualified_name(target)
            USING ERRCODE = '0A000';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION pgveneer.request_alone(category text, params jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN category = 'HudiRequest' AND params ->> 'kind' = 'sync'
                THEN CASE WHEN params ? 'columns' THEN 'hudi_sync_custom' ELSE 'hudi_sync' END END
$$;

CREATE FUNCTION pgveneer.ask_hudi(kind text, ftable oid, more jsonb DEFAULT '{}') RETURNS jsonb
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pgveneer.check_hudi_source(ftable);
    RETURN pgveneer.ask('HudiRequest', more || jsonb_build_object('kind', kind, 'ftable_oid',
                                                                  ftable::bigint));
END $$;

CREATE FUNCTION pgveneer.time_of_ms(ms text) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT to_timestamp(ms::double precision / 1000) $$;

-- hoodie.properties as it stands: escapes are not undone.
CREATE OR REPLACE FUNCTION pgveneer.hudi_get_options(ftable regclass)
    RETURNS TABLE (key text, value text) LANGUAGE plpgsql VOLATILE ROWS 30
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    answer jsonb := pgveneer.ask_hudi('options', ftable);
BEGIN
    RETURN QUERY SELECT o ->> 0, o ->> 1
                   FROM jsonb_array_elements(answer -> 'options') WITH ORDINALITY e(o, n) ORDER BY n;
END $$;

CREATE OR REPLACE FUNCTION pgveneer.hudi_get_max_commit(ftable regclass, OUT max_commit text,
                                                        OUT write_time timestamptz)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    answer jsonb := pgveneer.ask_hudi('commit', ftable);
BEGIN
    max_commit := answer ->> 'commit';
    write_time := pgveneer.time_of_ms(answer ->> 'time_ms');
END $$;

-- The count-th commit behind start_commit, or the newest one if there are fewer. Without start_commit
-- ('' or NULL) from the oldest on.
CREATE OR REPLACE FUNCTION pgveneer.hudi_get_commit(ftable regclass, start_commit text, count integer,
                                                    OUT end_commit text, OUT write_time timestamptz)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    answer jsonb;
BEGIN
    IF coalesce(start_commit, '') <> '' THEN
        PERFORM pgveneer.check_hudi_commit(start_commit);
    END IF;
    IF coalesce(count, 0) < 1 THEN
        RAISE EXCEPTION 'the number of commits must be greater than zero' USING ERRCODE = '22023';
    END IF;
    answer := pgveneer.ask_hudi('commit', ftable, jsonb_build_object('after',
                                coalesce(start_commit, ''), 'count', count));
    end_commit := answer ->> 'commit';
    write_time := pgveneer.time_of_ms(answer ->> 'time_ms');
END $$;

-- One synchronization now -------------------------------------------------------------------------

-- The job would wait for what this transaction has locked, and the transaction for the job. The proxy
-- refuses blocks; this is for texts of several statements and for PL/pgSQL.
CREATE FUNCTION pgveneer.check_no_own_locks(what text, target oid) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pg_current_xact_id_if_assigned() IS NOT NULL
       OR EXISTS (SELECT FROM pg_locks l
                   WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted
                     AND l.relation IN (SELECT target UNION ALL
                                        SELECT p.relid FROM pg_partition_tree(target) p)
                     AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock',
                                    'ExclusiveLock', 'AccessExclusiveLock')) THEN
        RAISE EXCEPTION '% cannot run inside a transaction block', what
            USING ERRCODE = '25001',
                  DETAIL = 'The transaction has written or locked something that the synchronization '
                           'could wait for.';
    END IF;
END $$;

-- last_log's "NOTICE: …" and "WARNING: …" lines
CREATE FUNCTION pgveneer.tell_notes(notes text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    line text;
BEGIN
    FOREACH line IN ARRAY string_to_array(coalesce(notes, ''), E'\n') LOOP
        IF line LIKE 'WARNING: %' THEN
            RAISE WARNING '%', substr(line, 10);
        ELSIF line <> '' THEN
            RAISE NOTICE '%', regexp_replace(line, '^NOTICE: ', '');
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION pgveneer.hudi_sync_now(what text, target oid, source oid, columns jsonb) RETURNS text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    answer jsonb;
BEGIN
    PERFORM pgveneer.check_hudi_sync_table();
    PERFORM pgveneer.check_hudi_target(target);
    PERFORM pgveneer.check_hudi_source(source);
    PERFORM pgveneer.check_hudi_service(target);
    PERFORM pgveneer.check_hudi_columns(target, source, columns);
    PERFORM pgveneer.check_hudi_key(target, source, columns);
    PERFORM pgveneer.check_no_own_locks(what, target);
    answer := pgveneer.ask_hudi('sync', source,
        jsonb_build_object('target_oid', target::bigint, 'target', pgveneer.qualified_name(target),
                           'source', pgveneer.qualified_name(source))
        || CASE WHEN columns IS NULL THEN '{}' ELSE jsonb_build_object('columns', columns) END);
    IF (answer ->> 'full')::boolean THEN
        RAISE NOTICE 'execute full sync';
    END IF;
    PERFORM pgveneer.tell_notes(answer ->> 'notes');
    RETURN format('sync %s rows up to %s.', answer ->> 'rows', answer ->> 'commit');
END $$;

-- '{"target column" : "source column", …}' as [["target column", "source column"], …]
CREATE FUNCTION pgveneer.custom_columns(columns text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    pairs jsonb;
    twice text;
BEGIN
    BEGIN
        SELECT jsonb_agg(jsonb_build_array(key, value) ORDER BY n)
          INTO pairs FROM json_each_text(columns::json) WITH ORDINALITY e(key, value, n);
    EXCEPTION WHEN data_exception THEN
        pairs := NULL;
    END;
    IF pairs IS NULL OR EXISTS (SELECT FROM jsonb_array_elements(pairs) p WHERE p ->> 1 IS NULL) THEN
        RAISE EXCEPTION 'invalid column list: "%"', columns
            USING ERRCODE = '22023',
                  HINT = 'Write {"target column" : "source column", ...}.';
    END IF;
    SELECT p ->> i INTO twice FROM jsonb_array_elements(pairs) p, generate_series(0, 1) i
     GROUP BY i, p ->> i HAVING count(*) > 1 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'column "%" is named twice', twice USING ERRCODE = '42701';
    END IF;
    RETURN pairs;
END $$;

CREATE FUNCTION pgveneer.hudi_sync(target regclass, ftable regclass) RETURNS text
    LANGUAGE sql VOLATILE AS $$ SELECT pgveneer.hudi_sync_now('hudi_sync', $1, $2, NULL) $$;
CREATE FUNCTION pgveneer.hudi_sync_custom(target regclass, ftable regclass, columns text) RETURNS text
    LANGUAGE sql VOLATILE
AS $$ SELECT pgveneer.hudi_sync_now('hudi_sync_custom', $1, $2, pgveneer.custom_columns($3)) $$;

-- The gate takes CALL hudi_sync(…) here: PostgreSQL has no routine that is function and procedure.
CREATE PROCEDURE pgveneer.call_hudi_sync(target regclass, ftable regclass,
                                         INOUT hudi_sync text DEFAULT NULL)
    LANGUAGE plpgsql
AS $$ BEGIN hudi_sync := pgveneer.hudi_sync(target, ftable); END $$;
CREATE PROCEDURE pgveneer.call_hudi_sync_custom(target regclass, ftable regclass, columns text,
                                                INOUT hudi_sync_custom text DEFAULT NULL)
    LANGUAGE plpgsql
AS $$ BEGIN hudi_sync_custom := pgveneer.hudi_sync_custom(target, ftable, columns); END $$;

-- Runs by hand are in the history too.
CREATE OR REPLACE VIEW pgveneer.hudi_sync_state_history_view WITH (security_barrier) AS
    SELECT h.task_id,
           h.detail ->> 'target_tbl' AS target_tbl,
           h.detail ->> 'source_ftbl' AS source_ftbl,
           h.detail ->> 'latest_commit' AS latest_commit,
           h.row_count AS latest_sync_count,
           h.run_start AS latest_sync_start,
           h.run_end AS latest_sync_end,
           h.detail ->> 'hudi_flushdisk_time' AS hudi_flushdisk_time
      FROM pgveneer.task_history h
     WHERE (h.category = 'SQLonHudi' OR h.category = 'HudiRequest' AND h.detail ? 'target_tbl')
       AND (pg_catalog.pg_has_role(h.owner, 'USAGE') OR (SELECT pgveneer.is_administrator()));

-- Settings of the session ---------------------------------------------------------------------------

-- PostgreSQL does not list settings that no module defined. Those of a session that can be known are
-- listed: the parameters of Hudi foreign tables, and what ALTER ROLE or ALTER DATABASE set.
CREATE OR REPLACE FUNCTION pgveneer.pg_show_custom_settings()
    RETURNS TABLE (name text, setting text, unit text, category text, short_desc text,
                   extra_desc text, context text, vartype text, source text, min_val text,
                   max_val text, enumvals text[], boot_val text, reset_val text, sourcefile text,
                   sourceline integer)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    WITH stored AS (
        SELECT DISTINCT ON (lower(split_part(c, '=', 1))) split_part(c, '=', 1) AS known,
               substr(c, strpos(c, '=') + 1) AS value
          FROM pg_db_role_setting s, unnest(s.setconfig) c
         WHERE s.setrole IN (0, (SELECT r.oid FROM pg_roles r WHERE r.rolname = session_user))
           AND s.setdatabase IN (0, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
         ORDER BY lower(split_part(c, '=', 1)), s.setrole = 0, s.setdatabase = 0),
    names AS (
        SELECT concat('hoodie.', n.nspname, '.', c.relname, '.', p) AS known
          FROM pgveneer.foreign_table f JOIN pg_class c ON c.oid = f.relid
          JOIN pg_namespace n ON n.oid = c.relnamespace,
               unnest(ARRAY['consume.mode', 'consume.start.timestamp', 'consume.ending.timestamp']) p
        UNION SELECT s.known FROM stored s WHERE s.known LIKE '%.%')
    SELECT n.known, current_setting(n.known, true), NULL::text, 'Customized Options'::text,
           'GUC placeholder variable'::text, NULL::text, 'user'::text, 'string'::text,
           CASE WHEN st.value = current_setting(n.known, true) THEN 'user' ELSE 'session' END::text,
           NULL::text, NULL::text, NULL::text[], NULL::text, st.value, NULL::text, NULL::integer
      FROM names n LEFT JOIN stored st ON lower(st.known) = lower(n.known)
     WHERE coalesce(current_setting(n.known, true), '') <> ''
       AND NOT EXISTS (SELECT FROM pg_settings g WHERE lower(g.name) = lower(n.known))
     ORDER BY 1;
END $$;
