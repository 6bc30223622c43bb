-- What comes with a later release says so.
\ir common.psql
SET ROLE alice;
SELECT * FROM pgveneer.hudi_get_options('hudi_read1');
SELECT * FROM pgveneer.hudi_get_max_commit('public.hudi_read1');
SELECT * FROM pgveneer.hudi_get_commit('hudi_read1', '20220913152131', 3);
SELECT * FROM pgveneer.pg_show_custom_settings();
CALL pgveneer.hudi_sync('in_rel', 'hudi_read1');
CALL pgveneer.hudi_sync_custom('in_rel', 'hudi_read1', '{"id": "id"}');
SELECT pgveneer.hudi_sync('in_rel', 'hudi_read1');
