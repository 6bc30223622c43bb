-- CREATE, ALTER and DROP SERVER, GRANT and REVOKE USAGE, user mappings, USEFT: DWS manual, "CREATE
-- SERVER" and its like; spec/hudi.md section 1.1. The gate parses the statement and calls these.
-- Secrets come beside the statement, in the session setting pgveneer.secrets; options keep a mask,
-- both in the statement and in the registry.

CREATE FUNCTION pgveneer.is_secret_option(name text) RETURNS boolean
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT lower(name) ~ '(^|_)(key|secret|token|password|passwd|passphrase|credentials?)($|_)' $$;

CREATE FUNCTION pgveneer.check_options(options jsonb, valid text[]) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong text;
BEGIN
    SELECT name INTO wrong FROM jsonb_object_keys(options) AS o(name) WHERE name <> ALL (valid)
     ORDER BY name LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'invalid option "%"', wrong
            USING ERRCODE = 'HV00D',
                  HINT = 'Valid options in this context are: ' || array_to_string(valid, ', ') || '.';
    END IF;
END $$;

-- Parts options into what may be shown and what may not, and empties the setting. Of that it takes
-- only what the options name (with the mask, or null in changes): a statement that failed may have
-- left its secrets behind.
CREATE FUNCTION pgveneer.take_secrets(options jsonb, OUT shown jsonb, OUT secret jsonb)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mask constant text := '********';
    beside jsonb := '{}';
    lost text;
BEGIN
    BEGIN
        beside := coalesce(nullif(current_setting('pgveneer.secrets', true), ''), '{}')::jsonb;
    EXCEPTION WHEN data_exception THEN -- its text would be in the error
        RAISE EXCEPTION 'setting pgveneer.secrets is not a JSON object' USING ERRCODE = '22023';
    END;
    PERFORM set_config('pgveneer.secrets', '', false);
    SELECT coalesce(jsonb_object_agg(o.key, CASE WHEN pgveneer.is_secret_option(o.key)
                                                  AND coalesce(o.value, mask) = mask
                                                 THEN beside ->> o.key ELSE o.value END), '{}')
      INTO options FROM jsonb_each_text(options) o;
    SELECT key INTO lost FROM jsonb_each_text(options) o
     WHERE pgveneer.is_secret_option(key) AND coalesce(value, mask) = mask;
    IF FOUND THEN
        RAISE EXCEPTION 'value of option "%" is missing', lost USING ERRCODE = '22023';
    END IF;
    SELECT coalesce(jsonb_object_agg(key, value) FILTER (WHERE pgveneer.is_secret_option(key)), '{}'),
           coalesce(jsonb_object_agg(key, CASE WHEN pgveneer.is_secret_option(key) THEN mask
                                               ELSE value END), '{}')
      INTO secret, shown
      FROM jsonb_each_text(options) o;
END $$;

CREATE FUNCTION pgveneer.keep_secrets(of_server text, of_mapping boolean, of_role oid, shown jsonb,
                                      secret jsonb) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM pgveneer.secret s
     WHERE s.server = of_server AND s.mapping = of_mapping AND s.role = of_role
       AND (secret ? s.name OR NOT shown ? s.name);
    INSERT INTO pgveneer.secret (server, mapping, role, name, value)
    SELECT of_server, of_mapping, of_role, key, value FROM jsonb_each_text(secret);
$$;

-- OPTIONS (ADD a 'x', SET b 'y', DROP c) on what is there. Takes the secrets, as above.
CREATE FUNCTION pgveneer.change_options(options jsonb, changes jsonb, OUT shown jsonb,
                                        OUT secret jsonb)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    change record;
    given jsonb;
BEGIN
    SELECT coalesce(jsonb_object_agg(c.name, c.value), '{}') INTO given
      FROM jsonb_to_recordset(coalesce(changes, '[]')) AS c(action text, name text, value text)
     WHERE lower(coalesce(c.action, '')) <> 'drop';
    SELECT t.shown, t.secret INTO given, secret FROM pgveneer.take_secrets(given) t;
    shown := options;
    FOR change IN SELECT lower(coalesce(nullif(c.action, ''), 'add')) AS action, c.name
                    FROM jsonb_to_recordset(coalesce(changes, '[]')) AS c(action text, name text) LOOP
        IF change.action = 'add' AND shown ? change.name THEN
            RAISE EXCEPTION 'option "%" provided more than once', change.name
                USING ERRCODE = '42710';
        ELSIF change.action <> 'add' AND NOT shown ? change.name THEN
            RAISE EXCEPTION 'option "%" not found', change.name USING ERRCODE = '42704';
        END IF;
        shown := shown - change.name;
        IF change.action <> 'drop' THEN
            shown := shown || jsonb_build_object(change.name, given -> change.name);
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION pgveneer.check_masked(options jsonb) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM jsonb_each_text(options)
                WHERE pgveneer.is_secret_option(key) AND value <> '********') THEN
        RAISE EXCEPTION 'secret options are kept in pgveneer.secret' USING ERRCODE = '22023';
    END IF;
END $$;

-- The options of a server and their values, whoever writes the row.
CREATE FUNCTION pgveneer.foreign_server_guard() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pgveneer.check_options(NEW.options, ARRAY['type', 'address', 'access_key',
        'secret_access_key', 'security_token', 'encrypt', 'region', 'hdfscfgpath', 'fed',
        'dli_address', 'dli_access_key', 'dli_secret_access_key']);
    NEW.type := lower(coalesce(NEW.options ->> 'type', CASE NEW.wrapper WHEN 'hdfs_fdw' THEN 'hdfs'
                                                                      ELSE 'obs' END));
    IF NEW.type NOT IN ('local', 'obs', 'oss', 's3', 'hdfs', 'dli') THEN
        RAISE EXCEPTION 'invalid value for option "type": "%"', NEW.type
            USING ERRCODE = '22023', HINT = 'Server types are local, obs, oss, s3, hdfs and dli.';
    END IF;
    IF lower(NEW.options ->> 'encrypt') NOT IN ('on', 'off', 'true', 'false') THEN
        RAISE EXCEPTION 'invalid value for option "encrypt": "%"', NEW.options ->> 'encrypt'
            USING ERRCODE = '22023', HINT = 'Use on or off.';
    END IF;
    IF octet_length(NEW.name) > 63 OR NEW.name = '' THEN
        RAISE EXCEPTION 'invalid server name: "%"', NEW.name
            USING ERRCODE = '42602', HINT = 'A name has 1 to 63 bytes.';
    END IF;
    PERFORM pgveneer.check_masked(NEW.options);
    RETURN NEW;
END $$;
CREATE TRIGGER foreign_server_guard BEFORE INSERT OR UPDATE ON pgveneer.foreign_server
    FOR EACH ROW EXECUTE FUNCTION pgveneer.foreign_server_guard();

-- The server, or what PostgreSQL says of one that is not there or not the caller's.
CREATE FUNCTION pgveneer.find_server(server text, to_own boolean) RETURNS pgveneer.foreign_server
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    s pgveneer.foreign_server;
BEGIN
    SELECT * INTO s FROM pgveneer.foreign_server f WHERE f.name = server;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'server "%" does not exist', server USING ERRCODE = '42704';
    END IF;
    IF to_own AND NOT pgveneer.owns_server(server) THEN
        RAISE EXCEPTION 'must be owner of foreign server %', server USING ERRCODE = '42501';
    END IF;
    RETURN s;
END $$;

CREATE PROCEDURE pgveneer.create_server(name text, wrapper text, options jsonb,
                                        if_not_exists boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    o record;
BEGIN
    o := pgveneer.take_secrets(options);
    IF NOT pgveneer.is_administrator() THEN
        RAISE EXCEPTION 'permission denied for foreign-data wrapper %', wrapper
            USING ERRCODE = '42501',
                  DETAIL = 'A server decides which stores can be read.',
                  HINT = 'Ask an administrator to create it and to GRANT USAGE ON FOREIGN SERVER.';
    END IF;
    IF EXISTS (SELECT FROM pgveneer.foreign_server s WHERE s.name = create_server.name)
       OR EXISTS (SELECT FROM pg_foreign_server WHERE srvname = create_server.name) THEN
        IF if_not_exists THEN
            RAISE NOTICE 'server "%" already exists, skipping', name USING ERRCODE = '42710';
            RETURN;
        END IF;
        RAISE EXCEPTION 'server "%" already exists', name USING ERRCODE = '42710';
    END IF;
    INSERT INTO pgveneer.foreign_server (name, wrapper, options) VALUES (name, wrapper, o.shown);
    PERFORM pgveneer.keep_secrets(name, false, 0, o.shown, o.secret);
END $$;

-- changes: {"options": [{"action", "name", "value"}], "rename_to": …, "owner_to": …}
CREATE PROCEDURE pgveneer.alter_server(name text, changes jsonb)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    s pgveneer.foreign_server := pgveneer.find_server(name, true);
    o record;
    new_name text := changes ->> 'rename_to';
    new_owner oid;
BEGIN
    o := pgveneer.change_options(s.options, changes -> 'options');
    UPDATE pgveneer.foreign_server u SET options = o.shown WHERE u.name = s.name;
    PERFORM pgveneer.keep_secrets(s.name, false, 0, o.shown, o.secret);
    IF changes ->> 'owner_to' IS NOT NULL THEN
        new_owner := pgveneer.find_role(changes ->> 'owner_to');
        IF NOT pgveneer.is_administrator() AND NOT pg_has_role(new_owner, 'MEMBER') THEN
            RAISE EXCEPTION 'must be member of role "%"', changes ->> 'owner_to'
                USING ERRCODE = '42501';
        END IF;
        UPDATE pgveneer.foreign_server u SET owner = new_owner WHERE u.name = s.name;
    END IF;
    IF new_name IS NOT NULL THEN
        IF EXISTS (SELECT FROM pgveneer.foreign_server f WHERE f.name = new_name)
           OR EXISTS (SELECT FROM pg_foreign_server WHERE srvname = new_name) THEN
            RAISE EXCEPTION 'server "%" already exists', new_name USING ERRCODE = '42710';
        END IF;
        UPDATE pgveneer.foreign_server u SET name = new_name WHERE u.name = s.name;
    END IF;
END $$;

CREATE PROCEDURE pgveneer.drop_server(names text[], if_exists boolean, cascade boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    srv text;
    tables jsonb;
    mappings bigint;
BEGIN
    PERFORM pgveneer.sweep_foreign_tables();
    FOREACH srv IN ARRAY names LOOP
        IF if_exists AND NOT EXISTS (SELECT FROM pgveneer.foreign_server s WHERE s.name = srv) THEN
            RAISE NOTICE 'server "%" does not exist, skipping', srv;
            CONTINUE;
        END IF;
        PERFORM pgveneer.find_server(srv, true);
        SELECT coalesce(jsonb_agg(parse_ident(pgveneer.qualified_name(t.relid)) ORDER BY t.relid),
                        '[]')
          INTO tables FROM pgveneer.foreign_table t WHERE t.server = srv;
        SELECT count(*) INTO mappings FROM pgveneer.user_mapping m WHERE m.server = srv;
        IF NOT cascade AND (tables <> '[]' OR mappings > 0) THEN
            RAISE EXCEPTION 'cannot drop server % because other objects depend on it', srv
                USING ERRCODE = '2BP01',
                      DETAIL = concat_ws(E'\n',
                          (SELECT string_agg(format('foreign table %I.%I depends on server %s',
                                                    t ->> 0, t ->> 1, srv), E'\n')
                             FROM jsonb_array_elements(tables) t),
                          CASE WHEN mappings > 0 THEN
                              format('%s user mappings depend on server %s', mappings, srv) END),
                      HINT = 'Use DROP ... CASCADE to drop the dependent objects too.';
        END IF;
        CALL pgveneer.drop_foreign_table(tables, false, true);
        DELETE FROM pgveneer.foreign_server s WHERE s.name = srv;
    END LOOP;
END $$;

CREATE FUNCTION pgveneer.check_may_grant(server text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pgveneer.find_server(server, false);
    IF NOT pgveneer.may_use_server(server, true) THEN
        RAISE EXCEPTION 'permission denied for foreign server %', server USING ERRCODE = '42501';
    END IF;
END $$;

CREATE PROCEDURE pgveneer.grant_server_usage(servers text[], roles text[], grant_option boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    srv text;
    to_name text;
    to_role oid;
BEGIN
    FOREACH srv IN ARRAY servers LOOP
        PERFORM pgveneer.check_may_grant(srv);
        FOREACH to_name IN ARRAY roles LOOP
            to_role := pgveneer.find_role(to_name);
            IF to_role = 0 AND grant_option THEN
                RAISE EXCEPTION 'grant options can only be granted to roles' USING ERRCODE = '0LP01';
            END IF;
            IF EXISTS (SELECT FROM pgveneer.server_grant g
                        WHERE g.server = srv AND g.grantee = to_role
                          AND (g.grantable OR NOT grant_option)
                          AND g.grantor = pgveneer.current_user_oid()) THEN
                CONTINUE;
            END IF;
            DELETE FROM pgveneer.server_grant g
             WHERE g.server = srv AND g.grantee = to_role
               AND g.grantor = pgveneer.current_user_oid();
            INSERT INTO pgveneer.server_grant (server, grantee, grantable)
            VALUES (srv, to_role, grant_option);
        END LOOP;
    END LOOP;
END $$;

-- The owner takes back whatever was granted, others what they granted themselves.
CREATE PROCEDURE pgveneer.revoke_server_usage(servers text[], roles text[], cascade boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    srv text;
    of_name text;
    of_role oid;
    further text[];
BEGIN
    FOREACH srv IN ARRAY servers LOOP
        PERFORM pgveneer.check_may_grant(srv);
        FOREACH of_name IN ARRAY roles LOOP
            of_role := pgveneer.find_role(of_name);
            DELETE FROM pgveneer.server_grant g WHERE g.server = srv AND g.grantee = of_role;
            SELECT array_agg(DISTINCT CASE g.grantee WHEN 0 THEN 'PUBLIC'
                                           ELSE pg_get_userbyid(g.grantee)::text END)
              INTO further FROM pgveneer.server_grant g
             WHERE g.server = srv AND of_role <> 0 AND g.grantor = of_role
               AND NOT EXISTS (SELECT FROM pgveneer.foreign_server s
                                WHERE s.name = srv AND s.owner = of_role);
            IF further IS NOT NULL AND NOT cascade THEN
                RAISE EXCEPTION 'dependent privileges exist'
                    USING ERRCODE = '2BP01', HINT = 'Use CASCADE to revoke them too.';
            ELSIF further IS NOT NULL THEN
                CALL pgveneer.revoke_server_usage(ARRAY[srv], further, true);
            END IF;
        END LOOP;
    END LOOP;
END $$;

-- The mapping's role, once the caller may map it.
CREATE FUNCTION pgveneer.find_mapped_role(role text, server text) RETURNS oid
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mapped oid := pgveneer.find_role(role);
BEGIN
    PERFORM pgveneer.find_server(server, false);
    IF NOT pgveneer.may_map(server, mapped) THEN
        RAISE EXCEPTION 'permission denied for foreign server %', server USING ERRCODE = '42501';
    END IF;
    RETURN mapped;
END $$;

CREATE FUNCTION pgveneer.user_mapping_guard() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pgveneer.check_options(NEW.options, ARRAY['access_key', 'secret_access_key',
                                                      'security_token', 'user', 'password']);
    PERFORM pgveneer.check_masked(NEW.options);
    RETURN NEW;
END $$;
CREATE TRIGGER user_mapping_guard BEFORE INSERT OR UPDATE ON pgveneer.user_mapping
    FOR EACH ROW EXECUTE FUNCTION pgveneer.user_mapping_guard();

CREATE PROCEDURE pgveneer.create_user_mapping(role text, server text, options jsonb,
                                              if_not_exists boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    o record;
    mapped oid;
BEGIN
    o := pgveneer.take_secrets(options);
    mapped := pgveneer.find_mapped_role(role, server);
    IF EXISTS (SELECT FROM pgveneer.user_mapping m
                WHERE m.server = create_user_mapping.server AND m.role = mapped) THEN
        IF if_not_exists THEN
            RAISE NOTICE 'user mapping for "%" already exists for server "%", skipping', role, server
                USING ERRCODE = '42710';
            RETURN;
        END IF;
        RAISE EXCEPTION 'user mapping for "%" already exists for server "%"', role, server
            USING ERRCODE = '42710';
    END IF;
    INSERT INTO pgveneer.user_mapping (server, role, options) VALUES (server, mapped, o.shown);
    PERFORM pgveneer.keep_secrets(server, true, mapped, o.shown, o.secret);
END $$;

CREATE PROCEDURE pgveneer.alter_user_mapping(role text, server text, changes jsonb)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    o record;
    mapped oid := pgveneer.find_mapped_role(role, server);
    before jsonb;
BEGIN
    SELECT m.options INTO before FROM pgveneer.user_mapping m
     WHERE m.server = alter_user_mapping.server AND m.role = mapped;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'user mapping for "%" does not exist for server "%"', role, server
            USING ERRCODE = '42704';
    END IF;
    o := pgveneer.change_options(before, changes -> 'options');
    UPDATE pgveneer.user_mapping m SET options = o.shown
     WHERE m.server = alter_user_mapping.server AND m.role = mapped;
    PERFORM pgveneer.keep_secrets(server, true, mapped, o.shown, o.secret);
END $$;

CREATE PROCEDURE pgveneer.drop_user_mapping(role text, server text, if_exists boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mapped oid;
BEGIN
    IF if_exists AND NOT EXISTS (SELECT FROM pgveneer.foreign_server s WHERE s.name = server) THEN
        RAISE NOTICE 'server "%" does not exist, skipping', server;
        RETURN;
    END IF;
    mapped := pgveneer.find_mapped_role(role, server);
    DELETE FROM pgveneer.user_mapping m
     WHERE m.server = drop_user_mapping.server AND m.role = mapped;
    IF FOUND THEN
        PERFORM pgveneer.keep_secrets(server, true, mapped, '{}', '{}');
    ELSIF if_exists THEN
        RAISE NOTICE 'user mapping for "%" does not exist for server "%", skipping', role, server;
    ELSE
        RAISE EXCEPTION 'user mapping for "%" does not exist for server "%"', role, server
            USING ERRCODE = '42704';
    END IF;
END $$;

CREATE PROCEDURE pgveneer.alter_user_useft(role text, useft boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_role oid := pgveneer.find_role(role);
BEGIN
    IF NOT pgveneer.is_administrator() THEN
        RAISE EXCEPTION 'permission denied'
            USING ERRCODE = '42501', DETAIL = 'Only administrators may change attribute USEFT.';
    END IF;
    INSERT INTO pgveneer.user_attribute (role, useft) VALUES (of_role, alter_user_useft.useft)
        ON CONFLICT ON CONSTRAINT user_attribute_pkey DO UPDATE SET useft = excluded.useft;
END $$;
