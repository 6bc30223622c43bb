-- Options of servers that are S3-compatible stores: DWS manual, "CREATE SERVER"; `addressing` is ours:
-- whether the bucket stands in the path or in front of the host.
CREATE OR REPLACE FUNCTION pgveneer.foreign_server_guard() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pgveneer.check_options(NEW.options, ARRAY['type', 'address', 'access_key',
        'secret_access_key', 'security_token', 'encrypt', 'region', 'addressing', 'hdfscfgpath', 'fed',
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
    IF lower(NEW.options ->> 'addressing') NOT IN ('path', 'virtual') THEN
        RAISE EXCEPTION 'invalid value for option "addressing": "%"', NEW.options ->> 'addressing'
            USING ERRCODE = '22023', HINT = 'Use path or virtual.';
    END IF;
    IF octet_length(NEW.name) > 63 OR NEW.name = '' THEN
        RAISE EXCEPTION 'invalid server name: "%"', NEW.name
            USING ERRCODE = '42602', HINT = 'A name has 1 to 63 bytes.';
    END IF;
    PERFORM pgveneer.check_masked(NEW.options);
    RETURN NEW;
END $$;
