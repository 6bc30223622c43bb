-- hudi.hudi_sync_state, where positions are kept, and create_hudi_sync_table, which makes it: DWS manual,
-- "Synchronizing Hudi Tasks" and "Hudi System Functions"; spec/hudi.md section 1.3, spec/decisions.md
-- "SQL on Hudi".

-- The table is the service role's, the right to have it made the caller's. He proves it by a row
-- here: the policy looks at him, the trigger behind it acts as its owner.
CREATE TABLE pgveneer.hudi_sync_table_request (
    role oid NOT NULL DEFAULT pgveneer.current_user_oid(),
    at   timestamptz NOT NULL DEFAULT pg_catalog.now()
);
ALTER TABLE pgveneer.hudi_sync_table_request ENABLE ROW LEVEL SECURITY;
CREATE POLICY ask ON pgveneer.hudi_sync_table_request FOR INSERT
    WITH CHECK (pgveneer.is_administrator() AND role = pgveneer.current_user_oid());
GRANT INSERT (role) ON pgveneer.hudi_sync_table_request TO PUBLIC;

CREATE FUNCTION pgveneer.make_hudi_sync_table() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $make$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('pgveneer'), hashtext('hudi.hudi_sync_state'));
    IF to_regclass('hudi.hudi_sync_state') IS NOT NULL THEN
        RAISE EXCEPTION 'relation "hudi.hudi_sync_state" already exists'
            USING ERRCODE = '42P07', HINT = 'It is created once in a database, and is there.';
    END IF;
    CREATE TABLE hudi.hudi_sync_state (
        target_tbl       text NOT NULL,
        source_ftbl      text NOT NULL,
        payload_type     text,
        precombine_key   text,
        latest_commit    text,
        target_oid       regclass NOT NULL, -- dumped by name, so that positions survive a restore
        source_oid       regclass NOT NULL,
        latest_completed text,                          -- completion time, timeline layout 2
        filled_by_sync   boolean NOT NULL DEFAULT true, -- all rows of the target are this sync's
        updated_at       timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (target_oid, source_oid)
    );
    CREATE TRIGGER hudi_sync_state_guard BEFORE INSERT OR UPDATE ON hudi.hudi_sync_state
        FOR EACH ROW EXECUTE FUNCTION pgveneer.hudi_sync_state_guard();
    ALTER TABLE hudi.hudi_sync_state ENABLE ROW LEVEL SECURITY;
    CREATE POLICY sync ON hudi.hudi_sync_state
        USING (pgveneer.may_sync(target_oid, source_oid) OR pgveneer.is_administrator());
    GRANT SELECT, DELETE,
          INSERT (target_oid, source_oid, latest_commit, latest_completed, filled_by_sync),
          UPDATE (latest_commit, latest_completed, filled_by_sync)
        ON hudi.hudi_sync_state TO PUBLIC;
    RETURN NULL;
END $make$;
CREATE TRIGGER make_hudi_sync_table AFTER INSERT ON pgveneer.hudi_sync_table_request
    FOR EACH ROW EXECUTE FUNCTION pgveneer.make_hudi_sync_table();

CREATE FUNCTION pgveneer.create_hudi_sync_table() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT pgveneer.is_administrator() THEN
        RAISE EXCEPTION 'permission denied to create table "hudi.hudi_sync_state"'
            USING ERRCODE = '42501',
                  DETAIL = 'Only administrators may call create_hudi_sync_table().';
    END IF;
    INSERT INTO pgveneer.hudi_sync_table_request DEFAULT VALUES;
END $$;

CREATE FUNCTION pgveneer.check_hudi_sync_table() RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF to_regclass('hudi.hudi_sync_state') IS NULL THEN
        RAISE EXCEPTION 'relation "hudi.hudi_sync_state" does not exist'
            USING ERRCODE = '42P01',
                  HINT = 'An administrator has to call create_hudi_sync_table() once in this '
                         'database.';
    END IF;
END $$;

-- The rights that the vendor names. NULL where a table is gone.
CREATE FUNCTION pgveneer.may_sync(target oid, source oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT has_table_privilege(target, 'INSERT') AND has_table_privilege(target, 'UPDATE')
       AND has_table_privilege(source, 'SELECT')
$$;

CREATE FUNCTION pgveneer.check_hudi_commit(commit text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF commit !~ '^[0-9]{14}([0-9]{3})?$' THEN
        RAISE EXCEPTION 'invalid Hudi commit time: "%"', commit
            USING ERRCODE = '22007',
                  HINT = 'A commit time has 14 or 17 digits: yyyyMMddHHmmss or yyyyMMddHHmmssSSS.';
    END IF;
END $$;

-- Names always are those of the tables; a commit set by a user says that all up to it is there.
CREATE FUNCTION pgveneer.hudi_sync_state_guard() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pgveneer.check_hudi_commit(NEW.latest_commit);
    IF NOT pgveneer.is_service()
       AND (NEW.latest_completed IS NOT NULL OR NOT NEW.filled_by_sync OR NEW.latest_commit IS NULL) THEN
        RAISE EXCEPTION 'permission denied for table hudi_sync_state'
            USING ERRCODE = '42501', HINT = 'Use hudi_set_sync_commit.';
    END IF;
    NEW.target_tbl := coalesce(pgveneer.qualified_name(NEW.target_oid), NEW.target_tbl);
    NEW.source_ftbl := coalesce(pgveneer.qualified_name(NEW.source_oid), NEW.source_ftbl);
    NEW.updated_at := now();
    RETURN NEW;
END $$;
