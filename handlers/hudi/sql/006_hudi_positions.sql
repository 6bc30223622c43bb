-- hudi_set_sync_commit, hudi_show_sync_state and hudi_sync_state_history_view: DWS manual,
-- "Synchronizing Hudi Tasks" and "Hudi System Functions"; spec/hudi.md section 1.3, spec/decisions.md
-- "SQL on Hudi".

CREATE FUNCTION pgveneer.hudi_put_commit(target oid, source oid, commit text) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF commit IS NULL THEN
        RAISE EXCEPTION 'the commit must not be null' USING ERRCODE = '22004';
    ELSIF commit = '' THEN
        DELETE FROM hudi.hudi_sync_state p WHERE p.target_oid = target AND p.source_oid = source;
        RAISE NOTICE 'sync commit forgotten, the next synchronization will start from the beginning';
        RETURN commit;
    END IF;
    PERFORM pgveneer.check_hudi_commit(commit);
    INSERT INTO hudi.hudi_sync_state (target_oid, source_oid, latest_commit)
    VALUES (target, source, commit)
    ON CONFLICT (target_oid, source_oid) DO UPDATE
       SET latest_commit = excluded.latest_commit, latest_completed = NULL, filled_by_sync = true;
    RAISE NOTICE 'set sync commit successfully, the next synchronization will start from %', commit;
    RETURN commit;
END $$;

-- Before submit: all commits up to this time are in the target.
CREATE FUNCTION pgveneer.hudi_set_sync_commit(target regclass, ftable regclass, latest_commit text)
    RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t record;
BEGIN
    PERFORM pgveneer.check_hudi_sync_table();
    PERFORM pgveneer.check_hudi_target(target);
    PERFORM pgveneer.check_hudi_source(ftable);
    SELECT * INTO t FROM pgveneer.hudi_task_on(target);
    IF t.source = ftable AND t.state = 'active' THEN
        RAISE EXCEPTION 'table "%" is being synchronized by task "%"',
                        pgveneer.qualified_name(target), t.id
            USING ERRCODE = '55000',
                  HINT = 'Pause that task with pg_task_pause, then use '
                         'hudi_set_sync_commit(task_id, commit).';
    END IF;
    RETURN pgveneer.hudi_put_commit(target, ftable, latest_commit);
END $$;

-- After submit: of a paused task that has succeeded before.
CREATE FUNCTION pgveneer.hudi_set_sync_commit(task_id text, latest_commit text) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t pgveneer.task := pgveneer.lock_task(task_id);
    target oid := t.params ->> 'target_oid';
    source oid := t.params ->> 'ftable_oid';
BEGIN
    PERFORM pgveneer.check_hudi_sync_table();
    IF t.category <> 'SQLonHudi' THEN
        RAISE EXCEPTION 'task "%" is not a Hudi synchronization task', t.task_id
            USING ERRCODE = '42809';
    ELSIF t.state <> 'paused' THEN
        RAISE EXCEPTION 'task "%" is not paused', t.task_id
            USING ERRCODE = '55000', HINT = 'Pause it with pg_task_pause first.';
    ELSIF NOT EXISTS (SELECT FROM pgveneer.task_history h
                       WHERE h.task_id = t.task_id AND h.outcome = 'done')
          -- runs that found nothing new leave no history
          AND (t.end_time IS NULL OR t.failure_times > 0
               OR EXISTS (SELECT FROM pgveneer.task_history h WHERE h.task_id = t.task_id)) THEN
        RAISE EXCEPTION 'task "%" has not succeeded yet', t.task_id
            USING ERRCODE = '55000',
                  HINT = 'Before the first run use hudi_set_sync_commit(target, foreign table, commit).';
    END IF;
    IF NOT pgveneer.is_administrator() THEN
        PERFORM pgveneer.check_hudi_target(target);
        PERFORM pgveneer.check_hudi_source(source);
    END IF;
    RETURN pgveneer.hudi_put_commit(target, source, latest_commit);
END $$;

-- Positions, and tasks that have none yet.
CREATE FUNCTION pgveneer.hudi_show_sync_state()
    RETURNS TABLE (target_tbl text, source_ftbl text, payload_type text, precombine_key text,
                   latest_commit text)
    LANGUAGE plpgsql STABLE ROWS 100 SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pgveneer.check_hudi_sync_table();
    RETURN QUERY
        SELECT coalesce(pgveneer.qualified_name(p.target_oid), p.target_tbl),
               coalesce(pgveneer.qualified_name(p.source_oid), p.source_ftbl),
               p.payload_type, p.precombine_key, p.latest_commit
          FROM hudi.hudi_sync_state p
        UNION ALL
        SELECT coalesce(pgveneer.qualified_name((t.params ->> 'target_oid')::oid),
                        t.params ->> 'target'),
               coalesce(pgveneer.qualified_name((t.params ->> 'ftable_oid')::oid),
                        t.params ->> 'source'),
               NULL, NULL, NULL
          FROM pgveneer.task t
         WHERE t.category = 'SQLonHudi'
           AND NOT EXISTS (SELECT FROM hudi.hudi_sync_state p
                            WHERE p.target_oid = (t.params ->> 'target_oid')::oid
                              AND p.source_oid = (t.params ->> 'ftable_oid')::oid)
         ORDER BY 1, 2;
END $$;

-- A view reads with its owner's rights, so it filters by itself; current_user is the reader.
CREATE VIEW pgveneer.hudi_sync_state_history_view WITH (security_barrier) AS
    SELECT h.task_id,
           h.detail ->> 'target_tbl' AS target_tbl,
           h.detail ->> 'source_ftbl' AS source_ftbl,
           h.detail ->> 'latest_commit' AS latest_commit,
           h.row_count AS latest_sync_count,
           h.run_start AS latest_sync_start,
           h.run_end AS latest_sync_end,
           h.detail ->> 'hudi_flushdisk_time' AS hudi_flushdisk_time
      FROM pgveneer.task_history h
     WHERE h.category = 'SQLonHudi'
       AND (pg_catalog.pg_has_role(h.owner, 'USAGE') OR (SELECT pgveneer.is_administrator()));
GRANT SELECT ON pgveneer.hudi_sync_state_history_view TO PUBLIC;
