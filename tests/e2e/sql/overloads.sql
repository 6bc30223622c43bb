-- Each form with literals, with casts, and with parameters as drivers declare them: unknown
-- (psycopg, libpq), varchar (pgjdbc), text, regclass and interval.
\ir common.psql
SET client_min_messages = warning;
SET ROLE alice;
RESET ROLE;
CREATE SCHEMA IF NOT EXISTS s AUTHORIZATION alice;
SET ROLE alice;
CREATE FUNCTION s.again(id text) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce((SELECT t."interval" || ' ' || t.what FROM pgveneer.pg_task_show('SQLonHudi') t WHERE t.task_id = id), '?')
           || ' ' || pgveneer.pg_task_remove(id) $$;
CREATE FUNCTION s.t(VARIADIC args text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE id text; BEGIN
    EXECUTE format('SELECT pgveneer.hudi_sync_task_submit(%s)', array_to_string(args, ', ')) INTO id;
    RETURN s.again(id); END $$;
-- literals
SELECT s.t($$'public.in_rel'$$, $$'public.hudi_read1'$$);
SELECT s.t($$'in_rel'$$, $$'hudi_read1'$$, $$'20 seconds'$$);
SELECT s.t($$'in_rel'$$, $$'hudi_read1'$$, $$interval '20 seconds'$$);
SELECT s.t($$'in_rel'$$, $$'hudi_read1'$$, $$'id,name'$$, $$'id,name'$$);
SELECT s.t($$'in_rel'$$, $$'hudi_read1'$$, $$'id,name'$$, $$'id,name'$$, $$'20 seconds'$$);
SELECT s.t($$'in_rel'$$, $$'hudi_read1'$$, $$'id,name'$$, $$'id,name'$$, $$interval '20 seconds'$$);
-- casts
SELECT s.t($$'in_rel'::regclass$$, $$'hudi_read1'::regclass$$);
SELECT s.t($$'in_rel'::text$$, $$'hudi_read1'::text$$, $$'20 s'::text$$);
SELECT s.t($$'in_rel'::varchar$$, $$'hudi_read1'::varchar$$, $$'20 s'::varchar$$);
SELECT s.t($$'in_rel'::regclass::oid$$, $$'hudi_read1'::regclass::oid$$);
SELECT s.t($$'in_rel'::text$$, $$'hudi_read1'$$, $$'id,name'::varchar$$, $$'id,name'$$, $$'20 s'::varchar$$);
-- parameters
RESET client_min_messages;
PREPARE p2u AS SELECT s.again(pgveneer.hudi_sync_task_submit($1, $2));
PREPARE p2t(text, text) AS SELECT s.again(pgveneer.hudi_sync_task_submit($1, $2));
PREPARE p2v(varchar, varchar) AS SELECT s.again(pgveneer.hudi_sync_task_submit($1, $2));
PREPARE p3u AS SELECT s.again(pgveneer.hudi_sync_task_submit($1, $2, $3));
PREPARE p3v(varchar, varchar, varchar) AS SELECT s.again(pgveneer.hudi_sync_task_submit($1, $2, $3));
PREPARE p3i(text, text, interval) AS SELECT s.again(pgveneer.hudi_sync_task_submit($1, $2, $3));
PREPARE p4u AS SELECT s.again(pgveneer.hudi_sync_task_submit($1, $2, $3, $4));
PREPARE p4v(varchar, varchar, varchar, varchar) AS SELECT s.again(pgveneer.hudi_sync_task_submit($1, $2, $3, $4));
PREPARE p5u AS SELECT s.again(pgveneer.hudi_sync_task_submit($1, $2, $3, $4, $5));
PREPARE p5v(varchar, varchar, varchar, varchar, varchar) AS SELECT s.again(pgveneer.hudi_sync_task_submit($1, $2, $3, $4, $5));
PREPARE p5i(text, text, text, text, interval) AS SELECT s.again(pgveneer.hudi_sync_task_submit($1, $2, $3, $4, $5));
PREPARE c3u AS SELECT pgveneer.hudi_set_sync_commit($1, $2, $3);
PREPARE c3v(varchar, varchar, varchar) AS SELECT pgveneer.hudi_set_sync_commit($1, $2, $3);
PREPARE c2u AS SELECT pgveneer.hudi_set_sync_commit($1, $2);
PREPARE c2v(varchar, varchar) AS SELECT pgveneer.hudi_set_sync_commit($1, $2);
PREPARE iu AS SELECT pgveneer.pg_task_reset_interval($1, $2);
PREPARE iv(varchar, varchar) AS SELECT pgveneer.pg_task_reset_interval($1, $2);
PREPARE ii(text, interval) AS SELECT pgveneer.pg_task_reset_interval($1, $2);
PREPARE tu AS SELECT count(*) FROM pgveneer.pg_task_show($1);
PREPARE tv(varchar) AS SELECT count(*) FROM pgveneer.pg_task_show($1);
SELECT name, parameter_types FROM pg_prepared_statements ORDER BY name;
EXECUTE p2u('public.in_rel', 'public.hudi_read1');
EXECUTE p2t('public.in_rel', 'public.hudi_read1');
EXECUTE p2v('public.in_rel', 'public.hudi_read1');
EXECUTE p3u('in_rel', 'hudi_read1', '20 s');
EXECUTE p3v('in_rel', 'hudi_read1', '20 s');
EXECUTE p3i('in_rel', 'hudi_read1', '20 s');
EXECUTE p4u('in_rel', 'hudi_read1', 'id,name', 'id,name');
EXECUTE p4v('in_rel', 'hudi_read1', 'id,name', 'id,name');
EXECUTE p5u('in_rel', 'hudi_read1', 'id,name', 'id,name', '20 s');
EXECUTE p5v('in_rel', 'hudi_read1', 'id,name', 'id,name', '20 s');
EXECUTE p5i('in_rel', 'hudi_read1', 'id,name', 'id,name', '20 s');
EXECUTE c3u('in_rel', 'hudi_read1', '20220913152131');
EXECUTE c3v('in_rel', 'hudi_read1', '');
EXECUTE c2u('x', '20220913152131');
EXECUTE c2v('x', '20220913152131');
EXECUTE iu('x', '10 s');
EXECUTE iv('x', '10 s');
EXECUTE ii('x', '10 s');
EXECUTE tu('SQLonHudi');
EXECUTE tv('SQLonHudi');
-- names are found with the caller's search_path
CREATE TABLE s.elsewhere (id int PRIMARY KEY, name text);
SELECT s.t($$'elsewhere'$$, $$'hudi_read1'$$);
SET search_path = s, public;
SELECT s.t($$'elsewhere'$$, $$'hudi_read1'$$);
SET search_path = '';
SELECT s.t($$'s.elsewhere'$$, $$'public.hudi_read1'$$);
