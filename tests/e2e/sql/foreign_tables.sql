-- CREATE, ALTER and DROP FOREIGN TABLE.
\ir common.psql
CREATE SCHEMA "S x" AUTHORIZATION alice;
CREATE TYPE "S x"."Col our" AS ENUM ('red');
SET ROLE alice;
\d hudi_read1
SELECT * FROM hudi_read1;
SELECT count(*) FROM hudi_read1 WHERE id = 1;
EXPLAIN (COSTS OFF) SELECT id FROM hudi_read1;
INSERT INTO hudi_read1 VALUES (1);
CALL pgveneer.create_foreign_table('{"S x","T y"}',
    '[{"name": "a b", "type": "character varying ( 20 )", "collation": "C", "not_null": true},
      {"name": "Num", "type": "DECIMAL(10, 2)"}, {"name": "arr", "type": "int[]"},
      {"name": "c", "type": "\"S x\".\"Col our\""}, {"name": "t", "type": "timestamp(3) with time zone"},
      {"name": "d", "type": "text", "collation": "pg_catalog.\"C\""}]',
    'lake', '{"format": "HUDI", "foldername": "/data/t/", "encoding": "utf-8", "checkencoding": "low", "cow_improve": "on", "julian_adjust": "false"}',
    false, 'DISTRIBUTE BY HASH("a b")');
\d "S x"."T y"
SELECT server, options, columns, distribution FROM pgveneer.foreign_table WHERE relid = '"S x"."T y"'::regclass;
SELECT pgveneer.is_hudi_foreign_table('{"S x","T y"}') AS a, pgveneer.is_hudi_foreign_table('{"T y"}') AS b,
       pgveneer.is_hudi_foreign_table('{hudi_read1}') AS c, pgveneer.is_hudi_foreign_table('{in_rel}') AS d,
       pgveneer.is_hudi_foreign_table('{nope,nope}') AS e;
-- refused
CALL pgveneer.create_foreign_table('{hudi_read1}', '[{"name": "a", "type": "int"}]', 'lake', '{"format": "hudi", "foldername": "/x/"}', false, '');
CALL pgveneer.create_foreign_table('{hudi_read1}', '[{"name": "a", "type": "int"}]', 'lake', '{"format": "hudi", "foldername": "/x/"}', true, '');
CALL pgveneer.create_foreign_table('{x}', '[{"name": "a", "type": "int"}]', 'nope', '{"format": "hudi", "foldername": "/x/"}', false, '');
CALL pgveneer.create_foreign_table('{x}', '[]', 'lake', '{"format": "hudi", "foldername": "/x/"}', false, '');
CALL pgveneer.create_foreign_table('{x}', '[{"name": "a", "type": "int"}, {"name": "a", "type": "int"}]', 'lake', '{"format": "hudi", "foldername": "/x/"}', false, '');
CALL pgveneer.create_foreign_table('{x}', '[{"name": "a", "type": "inti"}]', 'lake', '{"format": "hudi", "foldername": "/x/"}', false, '');
CALL pgveneer.create_foreign_table('{x}', '[{"name": "a", "type": "int); DROP TABLE in_rel; --"}]', 'lake', '{"format": "hudi", "foldername": "/x/"}', false, '');
CALL pgveneer.create_foreign_table('{x}', '[{"name": "a", "type": "text", "collation": "C\", b int"}]', 'lake', '{"format": "hudi", "foldername": "/x/"}', false, '');
CALL pgveneer.create_foreign_table('{x}', '[{"name": "a", "type": "int"}]', 'lake', '{"format": "orc", "foldername": "/x/"}', false, '');
CALL pgveneer.create_foreign_table('{x}', '[{"name": "a", "type": "int"}]', 'lake', '{"foldername": "/x/"}', false, '');
CALL pgveneer.create_foreign_table('{x}', '[{"name": "a", "type": "int"}]', 'lake', '{"format": "hudi"}', false, '');
CALL pgveneer.create_foreign_table('{x}', '[{"name": "a", "type": "int"}]', 'lake', '{"format": "hudi", "foldername": "/x"}', false, '');
CALL pgveneer.create_foreign_table('{x}', '[{"name": "a", "type": "int"}]', 'lake', '{"format": "hudi", "foldername": "x/"}', false, '');
CALL pgveneer.create_foreign_table('{x}', '[{"name": "a", "type": "int"}]', 'lake', '{"format": "hudi", "foldername": "/a/../etc/"}', false, '');
CALL pgveneer.create_foreign_table('{x}', '[{"name": "a", "type": "int"}]', 'lake', '{"format": "hudi", "foldername": "/x/", "location": "/y/"}', false, '');
CALL pgveneer.create_foreign_table('{x}', '[{"name": "a", "type": "int"}]', 'lake', '{"format": "hudi", "foldername": "/x/", "encoding": "gbk"}', false, '');
CALL pgveneer.create_foreign_table('{x}', '[{"name": "a", "type": "int"}]', 'lake', '{"format": "hudi", "foldername": "/x/", "checkencoding": "some"}', false, '');
CALL pgveneer.create_foreign_table('{nope,x}', '[{"name": "a", "type": "int"}]', 'lake', '{"format": "hudi", "foldername": "/x/"}', false, '');
CALL pgveneer.create_foreign_table('{pg_temp,x}', '[{"name": "a", "type": "int"}]', 'lake', '{"format": "hudi", "foldername": "/x/"}', false, '');
SET search_path = '';
CALL pgveneer.create_foreign_table('{x}', '[{"name": "a", "type": "int"}]', 'lake', '{"format": "hudi", "foldername": "/x/"}', false, '');
RESET search_path;
SET ROLE bob;
CALL pgveneer.create_foreign_table('{x}', '[{"name": "a", "type": "int"}]', 'lake', '{"format": "hudi", "foldername": "/x/"}', false, '');
SET ROLE alice;
CALL pgveneer.grant_server_usage('{lake}', '{bob}', false);
SET ROLE app;
CALL pgveneer.grant_server_usage('{lake}', '{bob}', false);
SET ROLE bob;
CALL pgveneer.create_foreign_table('{public,x}', '[{"name": "a", "type": "int"}]', 'lake', '{"format": "hudi", "foldername": "/x/"}', false, '');
SELECT * FROM hudi_read1;
-- a temporary table of the same name does not lead astray
SET ROLE alice;
CREATE TEMP TABLE shadowed (a int);
CALL pgveneer.create_foreign_table('{shadowed}', '[{"name": "a", "type": "int"}]', 'lake', '{"format": "hudi", "foldername": "/x/"}', false, '');
DROP TABLE pg_temp.shadowed;
SELECT pgveneer.is_hudi_foreign_table('{shadowed}');
-- rolled back
BEGIN;
CALL pgveneer.create_foreign_table('{x}', '[{"name": "a", "type": "int"}]', 'lake', '{"format": "hudi", "foldername": "/x/"}', false, '');
ROLLBACK;
SELECT pgveneer.is_hudi_foreign_table('{x}'), count(*) FROM pgveneer.foreign_table;
-- ALTER
CALL pgveneer.alter_foreign_table('{shadowed}', false, '{"rename_to": "Lit", "options": [{"action": "set", "name": "foldername", "value": "/y/"}, {"action": "add", "name": "encoding", "value": "utf8"}]}');
SELECT relid::regclass, options FROM pgveneer.foreign_table WHERE relid = '"Lit"'::regclass;
CALL pgveneer.alter_foreign_table('{Lit}', false, '{"set_schema": "S x"}');
CALL pgveneer.alter_foreign_table('{Lit}', false, '{"set_schema": "S x"}');
CALL pgveneer.alter_foreign_table('{Lit}', true, '{"set_schema": "S x"}');
CALL pgveneer.alter_foreign_table('{in_rel}', false, '{"set_schema": "S x"}');
CALL pgveneer.alter_foreign_table('{"S x",Lit}', false, '{"options": [{"action": "set", "name": "foldername", "value": "y"}]}');
CALL pgveneer.alter_foreign_table('{"S x",Lit}', false, '{"owner_to": "bob"}');
SET ROLE bob;
CALL pgveneer.alter_foreign_table('{hudi_read1}', false, '{"options": [{"action": "set", "name": "foldername", "value": "/y/"}]}');
CALL pgveneer.alter_foreign_table('{hudi_read1}', false, '{"rename_to": "y"}');
CALL pgveneer.drop_foreign_table('[["hudi_read1"]]', false, false);
-- DROP
SET ROLE alice;
CREATE VIEW on_it AS SELECT id FROM hudi_read1;
CALL pgveneer.drop_foreign_table('[["hudi_read1"]]', false, false);
DROP VIEW on_it;
SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1') \g /dev/null
CALL pgveneer.drop_foreign_table('[["hudi_read1"]]', false, false);
CALL pgveneer.drop_foreign_table('[["public", "hudi_read1"], ["S x", "Lit"], ["nope"]]', true, true);
SELECT count(*) FROM pgveneer.pg_task_show('SQLonHudi');
SELECT relid::regclass FROM pgveneer.foreign_table;
CALL pgveneer.drop_foreign_table('[["nope"]]', false, false);
CALL pgveneer.drop_foreign_table('[["in_rel"]]', false, false);
-- a row whose view went by DROP VIEW hurts nobody
DROP VIEW "S x"."Lit";
DROP VIEW "S x"."T y";
SELECT count(*) FROM pgveneer.foreign_table;
RESET ROLE;
SELECT count(*) FROM pgveneer.foreign_table;
SET ROLE app;
CALL pgveneer.drop_server('{lake}', false, false);
