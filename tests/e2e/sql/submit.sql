-- hudi_sync_task_submit: what it refuses at once, and what it stores.
\ir common.psql
SET ROLE alice;
SELECT pgveneer.hudi_sync_task_submit('nowhere', 'hudi_read1');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'nowhere');
SELECT pgveneer.hudi_sync_task_submit(4294967295::oid::regclass, 'hudi_read1');
-- the source
CREATE VIEW plain_view AS SELECT 1 AS id, 'x' AS name, 1.0 AS "Amount due";
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'plain_view');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'in_rel');
-- the target
SELECT pgveneer.hudi_sync_task_submit('hudi_read1', 'hudi_read1');
SELECT pgveneer.hudi_sync_task_submit('plain_view', 'hudi_read1');
SELECT pgveneer.hudi_sync_task_submit('in_rel_pkey', 'hudi_read1');
CREATE TEMP TABLE t_temp (id int PRIMARY KEY, name text);
SELECT pgveneer.hudi_sync_task_submit('t_temp', 'hudi_read1');
CREATE TABLE t_nokey (id int, name text);
SELECT pgveneer.hudi_sync_task_submit('t_nokey', 'hudi_read1');
CREATE TABLE t_unique (id int UNIQUE, name text);
SELECT pgveneer.hudi_sync_task_submit('t_unique', 'hudi_read1');
CREATE TABLE t_deferrable (id int PRIMARY KEY DEFERRABLE, name text);
SELECT pgveneer.hudi_sync_task_submit('t_deferrable', 'hudi_read1');
CREATE TABLE t_onlykey (id int, name text, PRIMARY KEY (id, name));
SELECT pgveneer.hudi_sync_task_submit('t_onlykey', 'hudi_read1');
CREATE TABLE t_onlykey_list (id int PRIMARY KEY, name text);
SELECT pgveneer.hudi_sync_task_submit('t_onlykey_list', 'hudi_read1', 'id', 'id');
SELECT pgveneer.hudi_sync_task_submit('t_onlykey_list', 'hudi_read1', 'name', 'name');
CREATE TABLE t_more (id int PRIMARY KEY, name text, more text);
SELECT pgveneer.hudi_sync_task_submit('t_more', 'hudi_read1');
CREATE TABLE t_rules (id int PRIMARY KEY, name text);
CREATE RULE r AS ON DELETE TO t_rules DO INSTEAD NOTHING;
SELECT pgveneer.hudi_sync_task_submit('t_rules', 'hudi_read1');
CREATE TABLE t_generated (id int PRIMARY KEY, name text, ts text GENERATED ALWAYS AS (name || '!') STORED);
SELECT pgveneer.hudi_sync_task_submit('t_generated', 'hudi_read1', 'id,ts', 'id,ts');
BEGIN;
SELECT pgveneer.hudi_sync_task_submit('t_generated', 'hudi_read1') IS NOT NULL AS ok;
ROLLBACK;
CREATE TABLE t_identity (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
SELECT pgveneer.hudi_sync_task_submit('t_identity', 'hudi_read1');
CREATE TABLE t_identity2 (id int PRIMARY KEY, name text, n int GENERATED ALWAYS AS IDENTITY);
BEGIN;
SELECT pgveneer.hudi_sync_task_submit('t_identity2', 'hudi_read1') IS NOT NULL AS ok;
ROLLBACK;
CREATE TABLE t_parted (id int, name text, PRIMARY KEY (id)) PARTITION BY HASH (id);
BEGIN;
SELECT pgveneer.hudi_sync_task_submit('t_parted', 'hudi_read1') IS NOT NULL AS ok;
ROLLBACK;
RESET ROLE;
SELECT pgveneer.hudi_sync_task_submit('pg_catalog.pg_class', 'hudi_read1');
SELECT pgveneer.hudi_sync_task_submit('pgveneer.task', 'hudi_read1');
SET ROLE alice;
-- intervals
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1', interval '4 s');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1', '25 hours');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1', '1 month');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1', 'x');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1', 'id,name', 'id,name', interval '1 s');
-- column lists
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1', 'id,name', 'id');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1', 'id,', 'id,name');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1', '', '');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1', 'id,"name', 'id,name');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1', 'id,na me', 'id,name');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1', 'id,""', 'id,name');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1', 'id,ID', 'id,name');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1', 'id,"Name"', 'id,name');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1', 'id,name', 'id,"Name"');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1', 'id,amount due', 'id,name');
SELECT pgveneer.split_columns(' a , "B c","d""e", "f\"g" ,"h,i", Jk');
CREATE TABLE t_names ("a'b" int PRIMARY KEY, "c""d" text, "e\f" text);
SELECT pgveneer.hudi_sync_task_submit('t_names', 'hudi_read1', '"a''b","c""d","e\\f"', 'id, NAME, ts', '1 min') AS task_id \gset
SELECT what, "interval" FROM pgveneer.pg_task_show('SQLonHudi');
RESET ROLE;
SELECT params - 'target_oid' - 'ftable_oid' AS params,
       (params ->> 'target_oid')::oid::regclass AS target, (params ->> 'ftable_oid')::oid::regclass AS source,
       state, owner::regrole FROM pgveneer.task;
SET ROLE alice;
-- names are those of today
ALTER TABLE t_names RENAME TO "T names";
SELECT what FROM pgveneer.pg_task_show('SQLonHudi');
SELECT target_tbl, source_ftbl FROM pgveneer.hudi_show_sync_state();
-- one task a target
SELECT pgveneer.hudi_sync_task_submit('"T names"', 'hudi_read1', '"a''b","c""d"', 'id, name');
SELECT pgveneer.pg_task_remove(:'task_id');
-- continues from a position
SELECT pgveneer.hudi_set_sync_commit('in_rel', 'hudi_read1', '20220913152131123');
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1') AS task_id \gset
-- without the sync table
RESET ROLE;
DROP TABLE hudi.hudi_sync_state;
SET ROLE alice;
SELECT pgveneer.hudi_sync_task_submit('t_onlykey_list', 'hudi_read1');
SELECT pgveneer.hudi_set_sync_commit('in_rel', 'hudi_read1', '20220913152131');
SELECT * FROM pgveneer.hudi_show_sync_state();
