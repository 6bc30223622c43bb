-- hudi_set_sync_commit, both forms, and hudi_show_sync_state.
\ir common.psql
SET ROLE alice;
SELECT pgveneer.hudi_set_sync_commit('in_rel', 'hudi_read1', '2022-09-13');
SELECT pgveneer.hudi_set_sync_commit('in_rel', 'hudi_read1', '2022091315213');
SELECT pgveneer.hudi_set_sync_commit('in_rel', 'hudi_read1', '202209131521311');
SELECT pgveneer.hudi_set_sync_commit('in_rel', 'hudi_read1', '20220913152131' || E'\n');
SELECT pgveneer.hudi_set_sync_commit('in_rel', 'in_rel', '20220913152131');
SELECT pgveneer.hudi_set_sync_commit('hudi_read1', 'hudi_read1', '20220913152131');
SELECT pgveneer.hudi_set_sync_commit('in_rel', 'hudi_read1', '20220913152131');
SELECT pgveneer.hudi_set_sync_commit('in_rel', 'hudi_read1', '20220913152131123');
SELECT * FROM pgveneer.hudi_show_sync_state();
SELECT target_tbl, source_ftbl, latest_commit, latest_completed, filled_by_sync FROM hudi.hudi_sync_state;
SELECT pgveneer.hudi_set_sync_commit('in_rel', 'hudi_read1', '');
SELECT * FROM pgveneer.hudi_show_sync_state();
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1') AS task_id \gset
SELECT * FROM pgveneer.hudi_show_sync_state();
-- with a task
SELECT pgveneer.hudi_set_sync_commit('in_rel', 'hudi_read1', '20220913152131');
SELECT pgveneer.hudi_set_sync_commit(:'task_id', '20220913152131');
SELECT pgveneer.pg_task_pause(:'task_id');
SELECT pgveneer.hudi_set_sync_commit(:'task_id', '20220913152131');
-- a run that wrote, as a job does it
RESET ROLE;
INSERT INTO hudi.hudi_sync_state (target_oid, source_oid, payload_type, precombine_key, latest_commit, latest_completed, filled_by_sync)
VALUES ('in_rel'::regclass, 'hudi_read1'::regclass, 'org.apache.hudi.common.model.OverwriteWithLatestAvroPayload', 'ts', '20230404172329543', '20230404172330000', true);
INSERT INTO pgveneer.task_history (task_id, category, owner, run_start, run_end, outcome, row_count)
SELECT task_id, category, owner, now(), now(), 'done', 7 FROM pgveneer.task;
SET ROLE alice;
SELECT * FROM pgveneer.hudi_show_sync_state();
SELECT pgveneer.hudi_set_sync_commit(:'task_id', '2023');
SELECT pgveneer.hudi_set_sync_commit(:'task_id', '20230101000000');
SELECT target_tbl, source_ftbl, payload_type, precombine_key, latest_commit, latest_completed, filled_by_sync FROM hudi.hudi_sync_state;
SELECT pgveneer.hudi_set_sync_commit(:'task_id', '');
SELECT * FROM pgveneer.hudi_show_sync_state();
SELECT pgveneer.hudi_set_sync_commit('no-such-task', '20230101000000');
-- rights: INSERT and UPDATE on the target, SELECT on the foreign table
SELECT pgveneer.pg_task_remove(:'task_id');
SET ROLE bob;
SELECT pgveneer.hudi_set_sync_commit('in_rel', 'hudi_read1', '20220913152131');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1');
SET ROLE alice;
GRANT INSERT ON in_rel TO bob;
SET ROLE bob;
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1');
SET ROLE alice;
GRANT UPDATE ON in_rel TO bob;
SET ROLE bob;
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1');
SELECT pgveneer.hudi_set_sync_commit('in_rel', 'hudi_read1', '20220913152131');
SET ROLE alice;
GRANT SELECT ON hudi_read1 TO bob;
SET ROLE bob;
SELECT pgveneer.hudi_set_sync_commit('in_rel', 'hudi_read1', '20220913152131');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1') AS task_id \gset
SELECT userid::regrole FROM pgveneer.pg_task_show('SQLonHudi');
-- alice may see the position, not bob's task; a second submit names it
SET ROLE alice;
SELECT * FROM pgveneer.hudi_show_sync_state();
SELECT count(*) FROM pgveneer.pg_task_show('SQLonHudi');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1');
SET ROLE carol;
SELECT * FROM pgveneer.hudi_show_sync_state();
SET ROLE app;
SELECT * FROM pgveneer.hudi_show_sync_state();
-- row-level security of the target that binds bob and not its owner
SET ROLE bob;
SELECT pgveneer.pg_task_remove(:'task_id');
SET ROLE alice;
ALTER TABLE in_rel ENABLE ROW LEVEL SECURITY;
SET ROLE bob;
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1');
SET ROLE alice;
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1') AS task_id \gset
-- the target goes: its position stays, under its last name, for administrators
SELECT pgveneer.pg_task_remove(:'task_id');
DROP TABLE in_rel;
SELECT * FROM pgveneer.hudi_show_sync_state();
SET ROLE app;
SELECT * FROM pgveneer.hudi_show_sync_state();
