-- Vendor functions that ask the store; they come with a later release: spec/hudi.md sections 1.2 and
-- 1.3. Until then they are here so that the error says so.

CREATE FUNCTION pgveneer.comes_later(what text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '% is not supported yet', what
        USING ERRCODE = '0A000', DETAIL = 'It comes with a later release.';
END $$;

CREATE FUNCTION pgveneer.hudi_get_options(ftable regclass)
    RETURNS TABLE (key text, value text) LANGUAGE plpgsql
AS $$ BEGIN PERFORM pgveneer.comes_later('hudi_get_options'); END $$;

CREATE FUNCTION pgveneer.hudi_get_max_commit(ftable regclass, OUT max_commit text,
                                             OUT write_time timestamptz) LANGUAGE plpgsql
AS $$ BEGIN PERFORM pgveneer.comes_later('hudi_get_max_commit'); END $$;

CREATE FUNCTION pgveneer.hudi_get_commit(ftable regclass, start_commit text, count integer,
                                         OUT end_commit text, OUT write_time timestamptz)
    LANGUAGE plpgsql
AS $$ BEGIN PERFORM pgveneer.comes_later('hudi_get_commit'); END $$;

CREATE FUNCTION pgveneer.pg_show_custom_settings()
    RETURNS TABLE (name text, setting text, unit text, category text, short_desc text,
                   extra_desc text, context text, vartype text, source text, min_val text,
                   max_val text, enumvals text[], boot_val text, reset_val text, sourcefile text,
                   sourceline integer)
    LANGUAGE plpgsql
AS $$ BEGIN PERFORM pgveneer.comes_later('pg_show_custom_settings'); END $$;

-- The manual says CALL; PostgreSQL has no routine that is function and procedure.
CREATE PROCEDURE pgveneer.hudi_sync(target regclass, ftable regclass,
                                    INOUT hudi_sync text DEFAULT NULL)
    LANGUAGE plpgsql
AS $$ BEGIN PERFORM pgveneer.comes_later('hudi_sync'); END $$;

CREATE PROCEDURE pgveneer.hudi_sync_custom(target regclass, ftable regclass, columns text,
                                           INOUT hudi_sync_custom text DEFAULT NULL)
    LANGUAGE plpgsql
AS $$ BEGIN PERFORM pgveneer.comes_later('hudi_sync_custom'); END $$;
