-- What a user may do on the tables by hand: no more than the functions do.
\ir common.psql
SET ROLE alice;
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1') AS task_id \gset
-- forging a task: owner, state, lease and id are not his to write
INSERT INTO pgveneer.task (category, params, run_every, owner) VALUES ('SQLonHudi', '{}', '10 s', 10);
INSERT INTO pgveneer.task (task_id, category, params) VALUES ('x', 'SQLonHudi', '{}');
INSERT INTO pgveneer.task (category, what) VALUES ('SQLonHudi', 'drop table t');
INSERT INTO pgveneer.task (category, params) VALUES ('REBUILD', '{}');
INSERT INTO pgveneer.task (category, params, run_every) VALUES ('SQLonHudi', '{}', '10 s');
INSERT INTO pgveneer.task (category, params, run_every) VALUES ('SQLonHudi', '{"target_oid": "x"}', '10 s');
-- params go through the checks of submit
SET ROLE bob;
INSERT INTO pgveneer.task (category, params, run_every)
VALUES ('SQLonHudi', jsonb_build_object('target_oid', 'in_rel'::regclass::oid, 'ftable_oid', 'hudi_read1'::regclass::oid), '10 s');
SET ROLE alice;
SELECT pgveneer.pg_task_remove(:'task_id') \g /dev/null
INSERT INTO pgveneer.task (category, params, run_every)
VALUES ('SQLonHudi', jsonb_build_object('target_oid', 'in_rel'::regclass::oid, 'ftable_oid', 'hudi_read1'::regclass::oid,
        'target', 'forged', 'columns', '["id"]'::jsonb, 'more', 1), '10 s');
INSERT INTO pgveneer.task (category, params, run_every)
VALUES ('SQLonHudi', jsonb_build_object('target_oid', 'in_rel'::regclass::oid, 'ftable_oid', 'hudi_read1'::regclass::oid,
        'columns', 7), '10 s');
INSERT INTO pgveneer.task (category, params, run_every)
VALUES ('SQLonHudi', jsonb_build_object('target_oid', 'in_rel'::regclass::oid, 'ftable_oid', 'hudi_read1'::regclass::oid), NULL);
INSERT INTO pgveneer.task (category, params, run_every)
VALUES ('SQLonHudi', jsonb_build_object('target_oid', 'in_rel'::regclass::oid, 'ftable_oid', 'hudi_read1'::regclass::oid,
        'target', 'forged', 'more', 1), '10 s')
RETURNING task_id, what, params - 'target_oid' - 'ftable_oid' AS params, owner::regrole;
-- changing one
UPDATE pgveneer.task SET owner = 10;
UPDATE pgveneer.task SET params = '{}';
UPDATE pgveneer.task SET fencing = 7;
UPDATE pgveneer.task SET lease_until = now();
UPDATE pgveneer.task SET last_log = 'fine';
UPDATE pgveneer.task SET category = 'REBUILD';
UPDATE pgveneer.task SET state = 'done';
UPDATE pgveneer.task SET state = 'suspended';
UPDATE pgveneer.task SET failure_times = -1000;
UPDATE pgveneer.task SET next_start_time = '2000-01-01';
UPDATE pgveneer.task SET run_every = '1 s';
UPDATE pgveneer.task SET run_every = NULL;
SET ROLE bob;
UPDATE pgveneer.task SET state = 'paused' RETURNING task_id;
DELETE FROM pgveneer.task RETURNING task_id;
SELECT count(*) FROM pgveneer.task;
INSERT INTO pgveneer.task_history (task_id, category, owner, run_start, run_end, outcome) VALUES ('x', 'SQLonHudi', 10, now(), now(), 'done');
TRUNCATE pgveneer.task;
UPDATE pgveneer.setting SET value = 'bob';
INSERT INTO pgveneer.setting VALUES ('x', 'y');
-- the sync table
INSERT INTO pgveneer.hudi_sync_table_request DEFAULT VALUES;
CREATE TABLE hudi.mine (a int);
CREATE FUNCTION pgveneer.mine() RETURNS int LANGUAGE sql AS 'SELECT 1';
INSERT INTO hudi.hudi_sync_state (target_oid, source_oid, latest_commit)
VALUES ('in_rel'::regclass, 'hudi_read1'::regclass, '20220913152131');
SET ROLE alice;
INSERT INTO hudi.hudi_sync_state (target_oid, source_oid, latest_commit, target_tbl)
VALUES ('in_rel'::regclass, 'hudi_read1'::regclass, '20220913152131', 'x');
INSERT INTO hudi.hudi_sync_state (target_oid, source_oid, latest_commit, filled_by_sync)
VALUES ('in_rel'::regclass, 'hudi_read1'::regclass, '20220913152131', false);
INSERT INTO hudi.hudi_sync_state (target_oid, source_oid, latest_commit, latest_completed)
VALUES ('in_rel'::regclass, 'hudi_read1'::regclass, '20220913152131', '1');
INSERT INTO hudi.hudi_sync_state (target_oid, source_oid, latest_commit)
VALUES ('in_rel'::regclass, 'hudi_read1'::regclass, 'whatever');
INSERT INTO hudi.hudi_sync_state (target_oid, source_oid, latest_commit)
VALUES ('in_rel'::regclass, 'hudi_read1'::regclass, '20220913152131') RETURNING target_tbl;
UPDATE hudi.hudi_sync_state SET target_oid = 1;
UPDATE hudi.hudi_sync_state SET payload_type = 'x';
SET ROLE bob;
UPDATE hudi.hudi_sync_state SET latest_commit = '20220913152132' RETURNING 1;
-- servers and foreign tables
INSERT INTO pgveneer.foreign_server (name, wrapper, type, options) VALUES ('mine', 'dfs_fdw', 'local', '{}');
UPDATE pgveneer.foreign_server SET options = '{"type": "obs"}' RETURNING name;
DELETE FROM pgveneer.foreign_server RETURNING name;
INSERT INTO pgveneer.server_grant (server, grantee) VALUES ('lake', 'bob'::regrole);
INSERT INTO pgveneer.foreign_table (relid, server, options, columns)
VALUES ('in_rel'::regclass, 'lake', '{"format": "hudi", "foldername": "/x/"}', '[{"name": "a"}]');
SET ROLE alice;
INSERT INTO pgveneer.foreign_table (relid, server, options, columns)
VALUES ('in_rel'::regclass, 'lake', '{"format": "hudi", "foldername": "/x/"}', '[{"name": "a"}]');
UPDATE pgveneer.foreign_table SET server = 'x';
UPDATE pgveneer.foreign_table SET options = '{"format": "hudi", "foldername": "/x/../y/"}';
RESET ROLE;
GRANT CREATE ON SCHEMA public TO bob;
SET ROLE bob;
CREATE VIEW planted AS SELECT * FROM pgveneer.hudi_scan(0) AS t(id int, name text, "Amount due" numeric);
INSERT INTO pgveneer.foreign_table (relid, server, options, columns)
VALUES ('planted'::regclass, 'lake', '{"format": "hudi", "foldername": "/x/"}', '[{"name": "a"}]');
-- functions and operators that a user plants are not found by ours
SET ROLE bob;
CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'planted'; END $$;
CREATE FUNCTION public.to_regclass(text) RETURNS regclass LANGUAGE plpgsql AS $$ BEGIN RAISE 'planted'; END $$;
CREATE FUNCTION public.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'planted'; END $$;
CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.eq);
SET ROLE alice;
SET search_path = public, pg_catalog;
SELECT count(*) FROM pgveneer.pg_task_show('SQLonHudi');
CALL pgveneer.create_foreign_table('{ft2}', '[{"name": "id", "type": "int"}]', 'lake',
    '{"format": "hudi", "foldername": "/data/t/"}', false, '');
SELECT pgveneer.is_hudi_foreign_table('{ft2}');
CALL pgveneer.alter_foreign_table('{ft2}', false, '{"rename_to": "ft3"}');
CALL pgveneer.drop_foreign_table('[["ft3"]]', false, false);
SELECT * FROM pgveneer.hudi_show_sync_state();
