-- Functions that ask a job: what they refuse before they ask, and what they say without a proxy.
\ir common.psql
SET ROLE alice;
SELECT * FROM pgveneer.hudi_get_options('in_rel');
SELECT * FROM pgveneer.hudi_get_max_commit('missing');
SELECT * FROM pgveneer.hudi_get_commit('hudi_read1', 'yesterday', 3);
SELECT * FROM pgveneer.hudi_get_commit('hudi_read1', '20220913152131', 0);
SELECT * FROM pgveneer.hudi_get_commit('hudi_read1', '20220913152131', NULL);
CALL pgveneer.call_hudi_sync('in_rel', 'in_rel');
CALL pgveneer.call_hudi_sync_custom('in_rel', 'hudi_read1', '{"id": "id"}');
CALL pgveneer.call_hudi_sync_custom('in_rel', 'hudi_read1', '{"id": "id", "name": "missing"}');
CALL pgveneer.call_hudi_sync_custom('in_rel', 'hudi_read1', '{"id": "id", "id": "name"}');
CALL pgveneer.call_hudi_sync_custom('in_rel', 'hudi_read1', 'id, name');
SELECT pgveneer.hudi_sync_custom('in_rel', 'hudi_read1', NULL);
BEGIN;
DELETE FROM in_rel WHERE false;
SELECT pgveneer.hudi_sync('hudi_read1', 'hudi_read1');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM pgveneer.hudi_get_options('hudi_read1');
ROLLBACK;
SET ROLE bob;
SELECT * FROM pgveneer.hudi_get_options('hudi_read1');
SELECT pgveneer.hudi_sync('in_rel', 'hudi_read1');
SELECT count(*), min(role::regrole::text) FROM pgveneer.ask_key;
SELECT * FROM pgveneer.ask_secret;
SELECT pgveneer.take_request('1.2.3', false);
-- what the proxy is told by hand
RESET ROLE;
SELECT pgveneer.take_request('1.2', false);
SELECT pgveneer.take_request('1.2.3', false);
SELECT pgveneer.take_request('99999999999.2.3', false);
SELECT pgveneer.take_request(NULL, false);
SELECT count(*) FROM pgveneer.request;
-- settings
SELECT * FROM pgveneer.pg_show_custom_settings();
SET hoodie.public.hudi_read1.consume.mode = incremental;
SET hoodie.public.hudi_read1.consume.ending.timestamp = 20220913152131;
ALTER ROLE app SET hoodie.public.hudi_read1.consume.mode = snapshot;
SELECT name, setting, source FROM pgveneer.pg_show_custom_settings();
RESET hoodie.public.hudi_read1.consume.mode;
SELECT name, setting, source, reset_val FROM pgveneer.pg_show_custom_settings();
ALTER ROLE app RESET ALL;
