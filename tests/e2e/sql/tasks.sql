-- pg_task_*: errors, rights, transactions.
\ir common.psql
SET ROLE alice;
BEGIN;
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1') \g /dev/null
SELECT count(*) FROM pgveneer.pg_task_show('SQLonHudi');
ROLLBACK;
SELECT count(*) FROM pgveneer.pg_task_show('SQLonHudi');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1') AS task_id \gset
SELECT :'task_id' ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{8}fffe$' AS form,
       abs(('x' || left(:'task_id', 8))::bit(32)::bigint - extract(epoch FROM now())) < 60 AS time;
RESET ROLE;
SELECT count(DISTINCT pgveneer.new_task_id()) FROM generate_series(1, 10000);
SET ROLE alice;
SELECT * FROM pgveneer.pg_task_show('nonsense');
SELECT count(*) FROM pgveneer.pg_task_show('sqlonhudi');
SELECT count(*) FROM pgveneer.pg_task_show('REBUILD');
SELECT pgveneer.pg_task_pause('no-such-task');
SELECT pgveneer.pg_task_resume('no-such-task');
SELECT pgveneer.pg_task_remove('no-such-task');
SELECT pgveneer.pg_task_reset_interval('no-such-task', interval '10 s');
SELECT pgveneer.pg_task_reset_interval(:'task_id', '4.999 s');
SELECT pgveneer.pg_task_reset_interval(:'task_id', interval '24 hours 1 second');
SELECT pgveneer.pg_task_reset_interval(:'task_id', interval '-1 hour');
SELECT pgveneer.pg_task_reset_interval(:'task_id', '1 day');
SELECT pgveneer.pg_task_reset_interval(:'task_id', 'often');
SELECT pgveneer.pg_task_pause(NULL);
-- others
SET ROLE bob;
SELECT count(*) FROM pgveneer.pg_task_show('SQLonHudi');
SELECT pgveneer.pg_task_pause(:'task_id');
SELECT pgveneer.pg_task_resume(:'task_id');
SELECT pgveneer.pg_task_remove(:'task_id');
SELECT pgveneer.pg_task_reset_interval(:'task_id', interval '10 s');
SELECT pgveneer.hudi_set_sync_commit(:'task_id', '20220913152131');
-- an administrator may: the owner of the database, and members of admin_role
SET ROLE app;
SELECT userid::regrole, failure_times FROM pgveneer.pg_task_show('SQLonHudi');
SELECT pgveneer.pg_task_pause(:'task_id');
SELECT pgveneer.pg_task_pause(:'task_id');
RESET ROLE;
SET ROLE carol;
SELECT count(*) FROM pgveneer.pg_task_show('SQLonHudi');
RESET ROLE;
UPDATE pgveneer.setting SET value = 'carol' WHERE name = 'admin_role';
SET ROLE carol;
SELECT count(*) FROM pgveneer.pg_task_show('SQLonHudi');
SELECT pgveneer.pg_task_resume(:'task_id');
RESET ROLE;
UPDATE pgveneer.setting SET value = 'pg_database_owner' WHERE name = 'admin_role';
-- a member of the owner's role, as with tables
GRANT alice TO dora;
SET ROLE dora;
SELECT pgveneer.pg_task_pause(:'task_id');
RESET ROLE;
REVOKE alice FROM dora;
-- what the caller's SET ROLE says counts, not who logged in
SET SESSION AUTHORIZATION dora;
SELECT count(*) FROM pgveneer.pg_task_show('SQLonHudi');
RESET SESSION AUTHORIZATION;
-- a task that ended
UPDATE pgveneer.task SET state = 'done';
SET ROLE alice;
SELECT pgveneer.pg_task_pause(:'task_id');
SELECT pgveneer.pg_task_resume(:'task_id');
-- all of it transactional
RESET ROLE;
UPDATE pgveneer.task SET state = 'active', next_start_time = now();
SET ROLE alice;
BEGIN;
SELECT pgveneer.pg_task_remove(:'task_id');
ROLLBACK;
BEGIN;
SELECT pgveneer.pg_task_pause(:'task_id');
ROLLBACK;
SELECT last_log, next_start_time IS NOT NULL AS due FROM pgveneer.pg_task_show('SQLonHudi');
-- what the engine writes on a paused task does not hide that it is paused
SELECT pgveneer.pg_task_pause(:'task_id');
RESET ROLE;
UPDATE pgveneer.task SET last_log = 'canceled', next_start_time = now();
SELECT last_log, next_start_time FROM pgveneer.pg_task_show('SQLonHudi');
UPDATE pgveneer.task SET state = 'active', next_start_time = now() - interval '1 hour', last_log = '';
UPDATE pgveneer.task SET fencing = 1, lease_until = now(), worker = 'w', start_time = now() - interval '1 hour';
SET ROLE alice;
SELECT pgveneer.pg_task_reset_interval(:'task_id', interval '30 minutes');
SELECT next_start_time <= now() AS due_now FROM pgveneer.pg_task_show('SQLonHudi');
