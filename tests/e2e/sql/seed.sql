-- The vendor page, statement by statement (names as the gate writes them).
\ir common.psql
SET ROLE app;
SELECT pgveneer.create_hudi_sync_table();
SET ROLE alice;
SELECT pgveneer.create_hudi_sync_table();
SELECT pgveneer.hudi_set_sync_commit('public.in_rel', 'public.hudi_read1', '20220913152131');
SELECT * FROM pgveneer.hudi_show_sync_state();
SELECT pgveneer.hudi_sync_task_submit('public.in_rel', 'public.hudi_read1') AS task_id \gset
SELECT * FROM pgveneer.hudi_show_sync_state();
\x on
SELECT task_id, what, category_id, userid::regrole, is_broken, "interval", time_cons, start_time,
       end_time, parameter, task_rank, next_start_time, next_end_time, last_log, failure_times
  FROM pgveneer.pg_task_show('SQLonHudi');
SELECT next_end_time - next_start_time AS window, start_time <= now() AS started
  FROM pgveneer.pg_task_show('SQLonHudi');
SELECT pgveneer.pg_task_pause(:'task_id');
SELECT next_start_time, next_end_time, last_log, is_broken FROM pgveneer.pg_task_show('SQLonHudi');
SELECT pgveneer.pg_task_resume(:'task_id');
SELECT next_start_time <= now() AS due_now, last_log FROM pgveneer.pg_task_show('SQLonHudi');
-- ten failures, as the engine writes them; then resume
RESET ROLE;
UPDATE pgveneer.task SET state = 'suspended', failure_times = 10, last_log = 'store unreadable';
SET ROLE alice;
SELECT next_start_time, last_log, is_broken, failure_times FROM pgveneer.pg_task_show('SQLonHudi');
SELECT pgveneer.pg_task_resume(:'task_id');
SELECT next_start_time <= now() AS due_now, is_broken, failure_times FROM pgveneer.pg_task_show('SQLonHudi');
SELECT pgveneer.pg_task_reset_interval(:'task_id', '1 hour');
SELECT "interval" FROM pgveneer.pg_task_show('SQLonHudi');
-- history, as a job writes it
RESET ROLE;
INSERT INTO pgveneer.task_history (task_id, category, owner, run_start, run_end, outcome, row_count, detail)
SELECT task_id, category, owner, '2026-01-01 00:00:00+00', '2026-01-01 00:00:01+00', 'done', 7,
       '{"target_tbl": "public.in_rel", "source_ftbl": "public.hudi_read1",
         "latest_commit": "20220913152131", "hudi_flushdisk_time": "2022-09-13 15:21:31.000+00"}'
  FROM pgveneer.task;
SET ROLE alice;
SELECT * FROM pgveneer.hudi_sync_state_history_view;
SET ROLE bob;
SELECT count(*) FROM pgveneer.hudi_sync_state_history_view;
SET ROLE app;
SELECT count(*) FROM pgveneer.hudi_sync_state_history_view;
SET ROLE alice;
SELECT pgveneer.pg_task_remove(:'task_id');
SELECT count(*) FROM pgveneer.pg_task_show('SQLonHudi');
\x off
SELECT * FROM pgveneer.hudi_show_sync_state();
SELECT count(*) FROM pgveneer.hudi_sync_state_history_view;
-- types of the results
SELECT a.attname, a.atttypid::regtype FROM pg_attribute a
 WHERE a.attrelid = 'pgveneer.hudi_sync_state_history_view'::regclass ORDER BY a.attnum;
SELECT proname, pg_get_function_result(oid) FROM pg_proc
 WHERE pronamespace = 'pgveneer'::regnamespace AND (proname LIKE 'pg\_task\_%' OR proname LIKE 'hudi\_s%sync%')
 ORDER BY proname, 2;
