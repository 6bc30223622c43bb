-- Settings of the caller's session that change how PostgreSQL reads or prints do not change ours.
\ir common.psql
SET ROLE alice;
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SET quote_all_identifiers = on;
SET intervalstyle = 'iso_8601';
SET datestyle = 'SQL, DMY';
SET search_path = '';
SELECT pgveneer.split_columns(' a , "B c","d""e", "f\\"g" ,"h,i", Jk');
CALL pgveneer.create_foreign_table('{public,x}', '[{"name": "a", "type": "int"}]', 'lake', '{"format": "hudi", "foldername": "/a/../etc/"}', false, '');
CALL pgveneer.create_foreign_table('{public,x}', '[{"name": "a", "type": "int"}]', 'lake', '{"format": "hudi", "foldername": "/a.b/etc/"}', false, '');
CALL pgveneer.drop_foreign_table('[["public", "x"]]', false, false);
SELECT pgveneer.hudi_set_sync_commit('public.in_rel', 'public.hudi_read1', '20220913152131');
SELECT pgveneer.hudi_sync_task_submit('public.in_rel', 'public.hudi_read1', 'id, "Amount due"', 'id, "Amount due"') AS task_id \gset
SELECT task_id, what, "interval" FROM pgveneer.pg_task_show('SQLonHudi');
SELECT * FROM pgveneer.hudi_show_sync_state();
SET row_security = off;
SELECT pgveneer.pg_task_remove(:'task_id');
