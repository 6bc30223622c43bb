-- Lists of endpoints of parallel retrieve cursors: seeds/004, spec/parallel-cursor.md sections 1.2 and 4.6.
--
-- What they show is what the proxy put into the setting pgveneer.endpoints just before the statement: the
-- endpoints of this database that the session's user may see, at that moment. So the lists are right in
-- every transaction, also where its snapshot is older. Where no proxy does that (a direct connection),
-- they are empty. The setting is the session's own, so a user who changes it deceives only himself.
CREATE SCHEMA pgveneer_greenplum;
GRANT USAGE ON SCHEMA pgveneer_greenplum TO PUBLIC;

CREATE FUNCTION pgveneer.endpoint_rows()
    RETURNS TABLE (own boolean, auth_token text, cursor_name text, endpoint_name text, hostname text,
                   port integer, status text, state text, sessionid integer, username text,
                   segment integer, failure text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT r.* FROM jsonb_to_recordset(
               coalesce(nullif(current_setting('pgveneer.endpoints', true), ''), '[]')::jsonb)
           AS r (own boolean, auth_token text, cursor_name text, endpoint_name text, hostname text,
                 port integer, status text, state text, sessionid integer, username text,
                 segment integer, failure text)
     WHERE r.endpoint_name IS NOT NULL
$$;

-- The oldest generation: six columns.
CREATE FUNCTION pgveneer.gp_endpoints_info(all_sessions boolean)
    RETURNS TABLE (auth_token text, cursor_name text, endpoint_name text, hostname text, port integer,
                   status text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT auth_token, cursor_name, endpoint_name, hostname, port, status
      FROM pgveneer.endpoint_rows() WHERE (own OR all_sessions) AND failure IS NULL
$$;
CREATE FUNCTION pgveneer.gp_endpoints_info()
    RETURNS TABLE (auth_token text, cursor_name text, endpoint_name text, hostname text, port integer,
                   status text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM pgveneer.gp_endpoints_info(false) $$;

CREATE VIEW pgveneer.gp_endpoints AS SELECT * FROM pgveneer.gp_endpoints_info(true);
GRANT SELECT ON pgveneer.gp_endpoints TO PUBLIC;

-- Greenplum 6.20 and later: nine columns.
CREATE FUNCTION pgveneer_greenplum.gp_get_endpoints()
    RETURNS TABLE (gp_segment_id integer, auth_token text, cursorname text, sessionid integer,
                   hostname text, port integer, username text, state text, endpointname text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT segment, auth_token, cursor_name, sessionid, hostname, port, username, state, endpoint_name
      FROM pgveneer.endpoint_rows() WHERE failure IS NULL
$$;
CREATE FUNCTION pgveneer_greenplum.gp_get_session_endpoints()
    RETURNS TABLE (gp_segment_id integer, auth_token text, cursorname text, sessionid integer,
                   hostname text, port integer, username text, state text, endpointname text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT segment, auth_token, cursor_name, sessionid, hostname, port, username, state, endpoint_name
      FROM pgveneer.endpoint_rows() WHERE own AND failure IS NULL
$$;

-- The same under the names that some releases have: all segments are here.
CREATE FUNCTION pgveneer_greenplum.gp_endpoints()
    RETURNS TABLE (gp_segment_id integer, auth_token text, cursorname text, sessionid integer,
                   hostname text, port integer, username text, state text, endpointname text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM pgveneer_greenplum.gp_get_endpoints() $$;
CREATE FUNCTION pgveneer_greenplum.gp_get_segment_endpoints()
    RETURNS TABLE (gp_segment_id integer, auth_token text, cursorname text, sessionid integer,
                   hostname text, port integer, username text, state text, endpointname text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM pgveneer_greenplum.gp_get_endpoints() $$;
CREATE FUNCTION pgveneer_greenplum.gp_segment_endpoints()
    RETURNS TABLE (gp_segment_id integer, auth_token text, cursorname text, sessionid integer,
                   hostname text, port integer, username text, state text, endpointname text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM pgveneer_greenplum.gp_get_endpoints() $$;

CREATE VIEW pgveneer_greenplum.gp_endpoints AS SELECT * FROM pgveneer_greenplum.gp_get_endpoints();
CREATE VIEW pgveneer_greenplum.gp_session_endpoints AS SELECT * FROM pgveneer_greenplum.gp_get_session_endpoints();
CREATE VIEW pgveneer_greenplum.gp_segment_endpoints AS SELECT * FROM pgveneer_greenplum.gp_get_segment_endpoints();
GRANT SELECT ON pgveneer_greenplum.gp_endpoints, pgveneer_greenplum.gp_session_endpoints, pgveneer_greenplum.gp_segment_endpoints
    TO PUBLIC;

-- Is everything of the cursor read? The waiting, where there is any, was done by the proxy, before it
-- handed over the endpoints that this looks at.
CREATE FUNCTION pgveneer_greenplum.gp_wait_parallel_retrieve_cursor(cursorname text, timeout_sec integer DEFAULT 0,
                                                           OUT finished boolean)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    total integer;
    failed text;
BEGIN
    IF timeout_sec < -1 THEN
        RAISE invalid_parameter_value USING MESSAGE = format('timeout should not be: %s', timeout_sec);
    END IF;
    SELECT count(*), bool_and(r.status = 'FINISHED'), max(r.failure) INTO total, finished, failed
      FROM pgveneer.endpoint_rows() AS r WHERE r.own AND r.cursor_name = cursorname;
    IF failed IS NOT NULL THEN
        RAISE query_canceled USING MESSAGE = failed;
    ELSIF total > 0 THEN
        RETURN;
    ELSIF EXISTS (SELECT FROM pg_cursors WHERE name = cursorname) THEN
        RAISE syntax_error USING MESSAGE = 'cursor is not a PARALLEL RETRIEVE CURSOR';
    ELSE
        RAISE invalid_cursor_name USING MESSAGE = format('cursor "%s" does not exist', cursorname);
    END IF;
END
$$;
CREATE FUNCTION pgveneer_greenplum.gp_check_parallel_retrieve_cursor(cursorname text, OUT finished boolean)
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$ SELECT pgveneer_greenplum.gp_wait_parallel_retrieve_cursor(cursorname, 0) $$;
