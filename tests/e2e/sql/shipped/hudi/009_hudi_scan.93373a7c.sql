-- SELECT on a Hudi foreign table: DWS manual, "Querying Hudi Foreign Tables"; spec/hudi.md section 1.2;
-- DESIGN.md section 3.
--
-- The view of a foreign table calls hudi_scan. A job brings the rows into a copy, an unlogged table
-- of base types that it makes anew for each state of the Hudi table, and hudi_scan returns the
-- rows of the copy. Each statement has it checked that the copy is of the newest commit; copies are
-- shared between sessions, and dropped when they are old (hudi_scan_keep) or replaced.
--
-- Rights: hudi_scan is SECURITY INVOKER and wants SELECT on the view from whoever current_user is; so
-- does the row security of each copy, which everybody may read. A copy has its types' base types, so
-- a domain's check runs where the caller's rights count, not the job's.

-- Unlogged as the copies are: after a crash of the server both are empty.
CREATE UNLOGGED TABLE pgveneer.hudi_copy (
    copy_key   text PRIMARY KEY,            -- what it shows: pgveneer.hudi_copy_key
    relid      oid NOT NULL,                -- the view of the foreign table
    table_name text NOT NULL,               -- in this schema
    state      text NOT NULL,               -- commit that it shows, and its completion
    row_count  bigint NOT NULL,
    byte_count bigint NOT NULL,             -- as sent in binary COPY
    loaded_at  timestamptz NOT NULL,
    checked_at timestamptz NOT NULL,        -- the state was the newest then
    used_at    timestamptz NOT NULL
);
CREATE SEQUENCE pgveneer.hudi_copy_number;
ALTER TABLE pgveneer.hudi_copy ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON pgveneer.hudi_copy FOR SELECT
    USING (pg_catalog.has_table_privilege(relid, 'SELECT'));
GRANT SELECT ON pgveneer.hudi_copy TO PUBLIC;

-- Everything that decides which rows a copy has.
CREATE FUNCTION pgveneer.hudi_copy_key(rel oid, shown jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT md5(concat_ws(E'\n', rel, f.options, f.server, s.type, s.options, shown,
                         (SELECT string_agg(concat_ws(' ', a.attnum, a.atttypid, a.atttypmod,
                                                      a.attcollation, a.attname), ',' ORDER BY a.attnum)
                            FROM pg_attribute a WHERE a.attrelid = rel AND a.attnum > 0)))
      FROM pgveneer.foreign_table f JOIN pgveneer.foreign_server s ON s.name = f.server
     WHERE f.relid = rel
$$;
CREATE OR REPLACE FUNCTION pgveneer.request_share(category text, params jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN category = 'HudiRequest' AND params ->> 'kind' = 'scan' THEN
        'scan ' || pgveneer.hudi_copy_key((params ->> 'ftable_oid')::oid, params -> 'shown') END
$$;

-- What the session wants to see: {} for the newest state, or {"after", "upto"} for what the commits of
-- (after, upto] wrote; without upto up to the newest.
CREATE FUNCTION pgveneer.hudi_shown(rel oid) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    prefix constant text := (SELECT concat('hoodie.', n.nspname, '.', c.relname, '.consume.')
                               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                              WHERE c.oid = rel);
    mode constant text := lower(coalesce(current_setting(prefix || 'mode', true), ''));
    after text := coalesce(current_setting(prefix || 'start.timestamp', true), '');
    upto text := coalesce(current_setting(prefix || 'ending.timestamp', true), '');
BEGIN
    IF mode IN ('', 'snapshot') THEN
        RETURN '{}';
    ELSIF mode <> 'incremental' THEN
        RAISE EXCEPTION 'invalid value for parameter "%mode": "%"', prefix, mode
            USING ERRCODE = '22023', HINT = 'Available values: snapshot, incremental.';
    ELSIF after = '' THEN
        RAISE EXCEPTION 'parameter "%start.timestamp" is not set', prefix
            USING ERRCODE = '22023',
                  DETAIL = 'An incremental query shows the rows that commits behind that time wrote.',
                  HINT = 'Set it to a commit time of 14 or 17 digits.';
    END IF;
    PERFORM pgveneer.check_hudi_commit(after);
    IF upto = '' THEN
        RETURN jsonb_build_object('after', after);
    END IF;
    PERFORM pgveneer.check_hudi_commit(upto);
    RETURN jsonb_build_object('after', after, 'upto', upto);
END $$;

-- A copy that was checked in this statement. One that was, for another session or another scan of the
-- statement, need not be asked for.
CREATE FUNCTION pgveneer.find_hudi_copy(rel oid, shown jsonb) RETURNS text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
DECLARE
    key constant text := pgveneer.hudi_copy_key(rel, shown);
    params constant jsonb := jsonb_build_object('kind', 'scan', 'ftable_oid', rel::bigint, 'shown', shown);
    name text;
BEGIN
    FOR attempt IN 0 .. 9 LOOP
        IF attempt > 0 THEN
            PERFORM pgveneer.ask('HudiRequest', params);
        END IF;
        SELECT c.table_name INTO name FROM pgveneer.hudi_copy c
         WHERE c.copy_key = key AND c.checked_at >= statement_timestamp();
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
    name text;
    list text;
BEGIN
    PERFORM pgveneer.check_hudi_source(relid);
    name := pgveneer.find_hudi_copy(relid, pgveneer.hudi_shown(relid));
    SELECT string_agg(CASE WHEN k.atttypid = a.atttypid AND k.atttypmod = a.atttypmod THEN 'k.' || k.attname
                           ELSE format('k.%s::%s', k.attname, format_type(a.atttypid, a.atttypmod)) END,
                      ', ' ORDER BY a.attnum)
      INTO list
      FROM pg_attribute a JOIN pg_attribute k ON k.attname = 'c' || a.attnum
     WHERE a.attrelid = hudi_scan.relid AND a.attnum > 0 AND NOT a.attisdropped
       AND k.attrelid = format('pgveneer.%I', name)::regclass;
    RETURN QUERY EXECUTE format('SELECT %s FROM pgveneer.%I k', list, name);
END $$;

-- The side of the job: called by the service role -------------------------------------------------

-- Makes the table of a copy and what guards it. columns: texts like 'c1 pg_catalog.int4'.
CREATE FUNCTION pgveneer.make_hudi_copy(rel oid, columns text) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name constant text := 'scan_' || nextval('pgveneer.hudi_copy_number');
BEGIN
    EXECUTE format('CREATE UNLOGGED TABLE pgveneer.%I (%s)', name, columns);
    EXECUTE format('ALTER TABLE pgveneer.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY read ON pgveneer.%I FOR SELECT USING ((SELECT has_table_privilege(%s::oid, '
                   '''SELECT'')))', name, rel);
    EXECUTE format('GRANT SELECT ON pgveneer.%I TO PUBLIC', name);
    RETURN name;
END $$;

-- Is there a copy of this state? Then it is the newest at `checked`.
CREATE FUNCTION pgveneer.check_hudi_copy(key text, of_state text, checked timestamptz) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE pgveneer.hudi_copy c SET checked_at = greatest(c.checked_at, checked), used_at = clock_timestamp()
     WHERE c.copy_key = key AND c.state = of_state
       AND to_regclass(format('pgveneer.%I', c.table_name)) IS NOT NULL;
    RETURN FOUND;
END $$;

-- Puts a copy that was loaded in the place of the one before, and has old ones looked for. A table has
-- eight copies at most, of different windows: those that were used last.
CREATE FUNCTION pgveneer.put_hudi_copy(key text, rel oid, name text, of_state text, rows bigint, bytes bigint,
                                       checked timestamptz, look_every interval) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO pgveneer.hudi_copy VALUES (key, rel, name, of_state, rows, bytes, clock_timestamp(), checked,
                                           clock_timestamp())
    ON CONFLICT (copy_key) DO UPDATE
       SET table_name = excluded.table_name, state = excluded.state, row_count = excluded.row_count,
           byte_count = excluded.byte_count, loaded_at = excluded.loaded_at,
           checked_at = excluded.checked_at, used_at = excluded.used_at;
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

-- Drops what nobody has used for so long, what was replaced, and what belongs to nothing. A table that
-- is being read is left for the next time. The task ends with the last copy.
CREATE FUNCTION pgveneer.sweep_hudi_copies(keep interval, task text) RETURNS integer
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $$
DECLARE
    name text;
    dropped integer := 0;
BEGIN
    DELETE FROM pgveneer.hudi_copy c
     WHERE c.used_at < clock_timestamp() - keep OR NOT EXISTS (SELECT FROM pg_class r WHERE r.oid = c.relid);
    FOR name IN SELECT t.relname FROM pg_class t
                 WHERE t.relnamespace = 'pgveneer'::regnamespace AND t.relkind = 'r' AND t.relpersistence = 'u'
                   AND t.relname ~ '^scan_[0-9]+$'
                   AND NOT EXISTS (SELECT FROM pgveneer.hudi_copy c WHERE c.table_name = t.relname) LOOP
        BEGIN
            EXECUTE format('DROP TABLE pgveneer.%I', name);
            dropped := dropped + 1;
        EXCEPTION WHEN lock_not_available THEN NULL;
        END;
    END LOOP;
    IF task IS NOT NULL AND NOT EXISTS (SELECT FROM pg_class t
             WHERE t.relnamespace = 'pgveneer'::regnamespace AND t.relkind = 'r' AND t.relname ~ '^scan_[0-9]+$') THEN
        UPDATE pgveneer.task t SET run_every = NULL WHERE t.task_id = task;
    END IF;
    RETURN dropped;
END $$;

REVOKE ALL ON FUNCTION pgveneer.make_hudi_copy(oid, text), pgveneer.check_hudi_copy(text, text, timestamptz),
    pgveneer.put_hudi_copy(text, oid, text, text, bigint, bigint, timestamptz, interval),
    pgveneer.sweep_hudi_copies(interval, text) FROM PUBLIC;
