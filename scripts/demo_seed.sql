-- The database `demo` as the README's transcript finds it: a foreign table on the sample Hudi table and
-- an empty target. Run by scripts/run_demo.sh through pgveneer, as the owner of the database. The
-- names are those of the vendor's manual, "Synchronizing Hudi Tasks".
--   :folder  the sample Hudi table, a folder below hudi_local_roots
CREATE SERVER hudi_server FOREIGN DATA WRAPPER dfs_fdw OPTIONS (type 'local');

CREATE FOREIGN TABLE public.hudi_read1 (
    id         bigint,
    customer   text,
    amount     numeric(12,2),
    status     text,
    updated_at timestamp
) SERVER hudi_server
  OPTIONS (foldername :'folder', format 'hudi', encoding 'utf-8')
  DISTRIBUTE BY ROUNDROBIN;

CREATE TABLE public.in_rel (
    id         bigint PRIMARY KEY,
    customer   text,
    amount     numeric(12,2),
    status     text,
    updated_at timestamp
);
