-- SQL on Hudi, the registry: what the vendor keeps in pg_foreign_server, pg_foreign_table and
-- pg_user_mapping. DESIGN.md section 3, spec/hudi.md section 1.1. The statements that fill it are in
-- the files behind this one; rights work as 001_task.sql says: policies, column grants, guards.
--
-- A foreign table is a row here and a real view over pgveneer.hudi_scan. The view decides: a row
-- whose view is gone is dead (somebody said DROP VIEW), is seen by nobody, and is swept up by the
-- next statement on foreign tables.
CREATE SCHEMA hudi;
GRANT USAGE ON SCHEMA hudi TO PUBLIC;

CREATE TABLE pgveneer.foreign_server (
    name    text PRIMARY KEY,
    wrapper text NOT NULL,                  -- dfs_fdw, hdfs_fdw
    type    text NOT NULL,                  -- local, obs, …
    options jsonb NOT NULL DEFAULT '{}',    -- secret ones as '********'
    owner   oid NOT NULL DEFAULT pgveneer.current_user_oid()
);

CREATE TABLE pgveneer.server_grant (
    server    text NOT NULL REFERENCES pgveneer.foreign_server ON UPDATE CASCADE ON DELETE CASCADE,
    grantee   oid NOT NULL,                 -- 0: PUBLIC
    grantor   oid NOT NULL DEFAULT pgveneer.current_user_oid(),
    grantable boolean NOT NULL DEFAULT false,
    PRIMARY KEY (server, grantee, grantor)
);

CREATE TABLE pgveneer.user_mapping (
    server  text NOT NULL REFERENCES pgveneer.foreign_server ON UPDATE CASCADE ON DELETE CASCADE,
    role    oid NOT NULL,                   -- 0: PUBLIC
    options jsonb NOT NULL DEFAULT '{}',    -- secret ones as '********'
    PRIMARY KEY (server, role)
);

-- Only the service role reads values: nobody else has SELECT on that column, so that he can neither
-- return it nor compare with it.
CREATE TABLE pgveneer.secret (
    server  text NOT NULL REFERENCES pgveneer.foreign_server ON UPDATE CASCADE ON DELETE CASCADE,
    mapping boolean NOT NULL,               -- of the user mapping of `role`, not of the server
    role    oid NOT NULL DEFAULT 0,
    name    text NOT NULL,
    value   text NOT NULL,
    PRIMARY KEY (server, mapping, role, name)
);

CREATE TABLE pgveneer.foreign_table (
    relid        regclass PRIMARY KEY,      -- of the view; a dump has its name, not its oid
    server       text NOT NULL REFERENCES pgveneer.foreign_server ON UPDATE CASCADE,
    options      jsonb NOT NULL,            -- foldername, format, …
    columns      jsonb NOT NULL,            -- [{"name", "type", "collation", "not_null"}, …]
    distribution text NOT NULL DEFAULT ''   -- DISTRIBUTE BY … as written; it has no effect here
);

-- ALTER USER … USEFT: kept, and without effect; USAGE on the server decides.
CREATE TABLE pgveneer.user_attribute (
    role  oid PRIMARY KEY,
    useft boolean NOT NULL
);

-- Names: as SQL prints them, and out of the parts that the gate hands over.
CREATE FUNCTION pgveneer.qualified_name(rel oid) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
    SELECT format('%I.%I', n.nspname, c.relname)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = rel
$$;
CREATE FUNCTION pgveneer.quote_name(parts text[]) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT string_agg(quote_ident(p), '.' ORDER BY n) FROM unnest(parts) WITH ORDINALITY u(p, n) $$;
-- The search_path that counts is the caller's: therefore no SET here, and nothing else in it.
CREATE FUNCTION pgveneer.find_relation(parts text[]) RETURNS oid
    LANGUAGE sql STABLE
AS $$ SELECT pg_catalog.to_regclass(pgveneer.quote_name($1))::pg_catalog.oid $$;

-- A role as written in GRANT, OWNER TO and FOR: 0 for PUBLIC.
CREATE FUNCTION pgveneer.find_role(role text) RETURNS oid
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_role oid;
BEGIN
    IF role = 'PUBLIC' THEN
        RETURN 0;
    END IF;
    SELECT r.oid INTO found_role FROM pg_roles r
     WHERE r.rolname = CASE WHEN role IN ('CURRENT_USER', 'CURRENT_ROLE', 'USER') THEN current_user
                            WHEN role = 'SESSION_USER' THEN session_user ELSE role END;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'role "%" does not exist', role USING ERRCODE = '42704';
    END IF;
    RETURN found_role;
END $$;

-- What may the caller do with a server? USAGE makes foreign tables on it.
CREATE FUNCTION pgveneer.owns_server(server text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT pgveneer.is_mine(s.owner) FROM pgveneer.foreign_server s WHERE s.name = server $$;
CREATE FUNCTION pgveneer.may_use_server(server text, and_grant boolean DEFAULT false) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT pgveneer.owns_server(server)
        OR EXISTS (SELECT FROM pgveneer.server_grant g
                    WHERE g.server = may_use_server.server AND (g.grantable OR NOT and_grant)
                      AND (g.grantee = 0 OR pg_has_role(g.grantee, 'USAGE')))
$$;
CREATE FUNCTION pgveneer.owns_relation(rel oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = rel $$;

-- Reading. The view of each foreign table calls this with its own oid.
CREATE FUNCTION pgveneer.hudi_scan(relid oid) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'cannot read Hudi foreign table "%"',
                    coalesce(pgveneer.qualified_name(relid), relid::text)
        USING ERRCODE = '0A000',
              DETAIL = 'Reading Hudi foreign tables in queries comes with a later release.',
              HINT = 'Use hudi_sync_task_submit to keep a table in step with it.';
END $$;

-- Is this the view of a Hudi foreign table? Its rule calls pgveneer.hudi_scan.
CREATE FUNCTION pgveneer.is_hudi_view(rel oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM pg_class c
                     JOIN pg_rewrite r ON r.ev_class = c.oid
                     JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                    WHERE c.oid = rel AND c.relkind = 'v' AND c.relpersistence = 'p'
                      AND d.refclassid = 'pg_proc'::regclass
                      AND d.refobjid = 'pgveneer.hudi_scan(oid)'::regprocedure)
$$;

-- Servers and grants are for all to see, as in pg_foreign_server.
GRANT SELECT ON pgveneer.foreign_server, pgveneer.server_grant, pgveneer.user_attribute,
                pgveneer.foreign_table TO PUBLIC;

ALTER TABLE pgveneer.foreign_server ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON pgveneer.foreign_server FOR SELECT USING (true);
CREATE POLICY make ON pgveneer.foreign_server FOR INSERT
    WITH CHECK (pgveneer.is_administrator() AND owner = pgveneer.current_user_oid());
CREATE POLICY change ON pgveneer.foreign_server FOR UPDATE USING (pgveneer.is_mine(owner))
    WITH CHECK (pgveneer.is_mine(owner) OR pgveneer.is_administrator());
CREATE POLICY remove ON pgveneer.foreign_server FOR DELETE USING (pgveneer.is_mine(owner));
GRANT INSERT (name, wrapper, type, options), UPDATE (name, type, options, owner), DELETE
    ON pgveneer.foreign_server TO PUBLIC;

ALTER TABLE pgveneer.server_grant ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON pgveneer.server_grant FOR SELECT USING (true);
CREATE POLICY make ON pgveneer.server_grant FOR INSERT
    WITH CHECK (pgveneer.may_use_server(server, true) AND grantor = pgveneer.current_user_oid());
CREATE POLICY remove ON pgveneer.server_grant FOR DELETE
    USING (pgveneer.owns_server(server) OR pg_catalog.pg_has_role(grantor, 'USAGE'));
GRANT INSERT (server, grantee, grantable), DELETE ON pgveneer.server_grant TO PUBLIC;

-- A mapping is the business of the server's owner, and of a user of the server for himself.
CREATE FUNCTION pgveneer.may_map(server text, role oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT pgveneer.owns_server(server)
        OR role = pgveneer.current_user_oid() AND pgveneer.may_use_server(server)
$$;
ALTER TABLE pgveneer.user_mapping ENABLE ROW LEVEL SECURITY;
CREATE POLICY map ON pgveneer.user_mapping USING (pgveneer.may_map(server, role));
GRANT SELECT, INSERT, UPDATE (options), DELETE ON pgveneer.user_mapping TO PUBLIC;

ALTER TABLE pgveneer.secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY keep ON pgveneer.secret
    USING (CASE WHEN mapping THEN pgveneer.may_map(server, role) ELSE pgveneer.owns_server(server) END);
GRANT SELECT (server, mapping, role, name), INSERT, UPDATE (value), DELETE ON pgveneer.secret
    TO PUBLIC;

-- A row may be made by the owner of the view who may use the server; the guard in 003 checks it.
ALTER TABLE pgveneer.foreign_table ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON pgveneer.foreign_table FOR SELECT USING (pgveneer.is_hudi_view(relid));
CREATE POLICY make ON pgveneer.foreign_table FOR INSERT
    WITH CHECK (pgveneer.owns_relation(relid) AND pgveneer.is_hudi_view(relid)
                AND pgveneer.may_use_server(server));
CREATE POLICY change ON pgveneer.foreign_table FOR UPDATE
    USING (pgveneer.owns_relation(relid)) WITH CHECK (pgveneer.may_use_server(server));
GRANT INSERT, UPDATE (options) ON pgveneer.foreign_table TO PUBLIC;

ALTER TABLE pgveneer.user_attribute ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON pgveneer.user_attribute FOR SELECT USING (true);
CREATE POLICY make ON pgveneer.user_attribute FOR INSERT WITH CHECK (pgveneer.is_administrator());
CREATE POLICY change ON pgveneer.user_attribute FOR UPDATE USING (pgveneer.is_administrator());
GRANT INSERT, UPDATE (useft) ON pgveneer.user_attribute TO PUBLIC;

-- What the gate asks before it takes a statement for ours.
CREATE FUNCTION pgveneer.is_hudi_wrapper(wrapper text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT wrapper IN ('dfs_fdw', 'hdfs_fdw')
       AND NOT EXISTS (SELECT FROM pg_foreign_data_wrapper WHERE fdwname = wrapper)
$$;
CREATE FUNCTION pgveneer.is_hudi_server(server text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM pgveneer.foreign_server WHERE name = server)
       AND NOT EXISTS (SELECT FROM pg_foreign_server WHERE srvname = server)
$$;
CREATE FUNCTION pgveneer.is_hudi_relation(rel oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT EXISTS (SELECT FROM pgveneer.foreign_table WHERE relid = rel) AND pgveneer.is_hudi_view(rel) $$;
CREATE FUNCTION pgveneer.is_hudi_foreign_table(name text[]) RETURNS boolean
    LANGUAGE sql STABLE
AS $$ SELECT pgveneer.is_hudi_relation(pgveneer.find_relation($1)) $$;

-- Sweeps up the rows of views that are gone. A definer, since the view's owner is gone with it;
-- whoever calls it can do no harm.
CREATE FUNCTION pgveneer.sweep_foreign_tables() RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ DELETE FROM pgveneer.foreign_table WHERE NOT pgveneer.is_hudi_view(relid) $$;
