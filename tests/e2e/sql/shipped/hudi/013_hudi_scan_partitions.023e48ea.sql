-- SELECT on a Hudi foreign table reads only the partitions that the conditions of the statement leave
-- (012_hudi_scan_columns.sql). A copy of some partitions is another copy: its key is that of the whole,
-- a colon, and the md5 of the partitions. Statements whose conditions leave the same ones share it.
--
-- Conditions are understood as PostgreSQL's own operators. Where somebody has made others for the types
-- in question, rows are not restricted.
CREATE FUNCTION pgveneer.has_plain_operators() RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT NOT EXISTS (SELECT FROM pg_operator o
                        WHERE o.oid >= 16384 AND o.oprname IN ('=', '<', '<=', '>', '>=')
                          AND o.oprleft::regtype IN ('int2', 'int4', 'int8', 'text', 'varchar', 'date'))
$$;

CREATE OR REPLACE FUNCTION pgveneer.find_hudi_copy(rel oid, shown jsonb, statement text) RETURNS text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
DECLARE
    key constant text := pgveneer.hudi_copy_key(rel, shown);
    plain constant boolean := pgveneer.has_plain_operators();
    params constant jsonb := jsonb_strip_nulls(jsonb_build_object(
        'kind', 'scan', 'ftable_oid', rel::bigint, 'shown', shown, 'statement', statement, 'rows', plain));
    name text;
BEGIN
    FOR attempt IN 0 .. 9 LOOP
        IF attempt > 0 THEN
            PERFORM pgveneer.ask('HudiRequest', params);
        END IF;
        SELECT c.table_name INTO name FROM pgveneer.hudi_copy c
         WHERE left(c.copy_key, 32) = key AND c.checked_at >= statement_timestamp()
           AND (c.copy_key = key AND c.columns IS NULL
                OR (c.copy_key = key OR plain) AND md5(statement) = ANY (c.statements))
         LIMIT 1;
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

-- As in 012_hudi_scan_columns.sql; but a copy of some partitions says for whom it is enough, always.
CREATE OR REPLACE FUNCTION pgveneer.check_hudi_copy(key text, of_state text, checked timestamptz, needed smallint[],
                                                    said text)
    RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE pgveneer.hudi_copy c
       SET checked_at = greatest(c.checked_at, checked), used_at = clock_timestamp(),
           statements = CASE WHEN c.columns IS NULL AND c.copy_key !~ ':' OR said = ANY (c.statements) THEN c.statements
                             ELSE said || c.statements[1:99] END
     WHERE c.copy_key = key AND c.state = of_state AND (c.columns IS NULL OR needed <@ c.columns)
       AND to_regclass(format('pgveneer.%I', c.table_name)) IS NOT NULL;
    RETURN FOUND;
END $$;

-- As in 012_hudi_scan_columns.sql; but a copy of some partitions says for whom it is enough, always, and only
-- in its state: a new partition is not among them.
CREATE OR REPLACE FUNCTION pgveneer.put_hudi_copy(key text, rel oid, name text, of_state text, rows bigint, bytes bigint,
                                                  checked timestamptz, look_every interval, with_columns smallint[],
                                                  said text, files bigint) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO pgveneer.hudi_copy AS c (copy_key, relid, table_name, state, row_count, byte_count, loaded_at,
                                         checked_at, used_at, columns, statements, file_count)
    VALUES (key, rel, name, of_state, rows, bytes, clock_timestamp(), checked, clock_timestamp(), with_columns,
            CASE WHEN with_columns IS NULL AND key !~ ':' THEN '{}' ELSE ARRAY[said] END, files)
    ON CONFLICT (copy_key) DO UPDATE
       SET table_name = excluded.table_name, state = excluded.state, row_count = excluded.row_count,
           byte_count = excluded.byte_count, loaded_at = excluded.loaded_at,
           checked_at = excluded.checked_at, used_at = excluded.used_at, columns = excluded.columns,
           statements = CASE WHEN CASE WHEN key ~ ':' THEN c.state = excluded.state
                                                           AND (excluded.columns IS NULL OR c.columns <@ excluded.columns)
                                       ELSE c.columns <@ excluded.columns END
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
