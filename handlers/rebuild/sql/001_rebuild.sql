-- revision 2
-- Online rebuilds: state and table properties. Hologres, "REBUILD" and "CREATE TABLE"; spec/rebuild.md
-- sections 1.3 and 1.5; spec/decisions.md, "REBUILD".
--
-- A rebuild is a task of category REBUILD (pgveneer.task); its query_id is the task's id. What is
-- here is written by the service role alone: by the job, by triggers on the task, and by a few inner
-- functions. Names of our functions that users have no business with are not executable by them.

DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pgveneer.migration WHERE feature = 'rebuild') THEN
        CREATE SCHEMA hologres; -- one that is somebody else's is refused
    END IF;
END $$;
GRANT USAGE ON SCHEMA hologres TO PUBLIC;

CREATE TABLE IF NOT EXISTS hologres.rebuild (
    query_id     text PRIMARY KEY,
    relid        oid NOT NULL,             -- of the table; another one after the swap
    strategy     text,                     -- in place, copy; NULL: not decided yet
    capture      text,                     -- key, readonly: how writes during the copy are met
    attempt_no   integer NOT NULL DEFAULT 0,
    new_relid    oid,                      -- the copy
    old_relid    oid,                      -- the former table, once swapped
    fingerprint  text,                     -- of the definition that the plan was made for
    plan         jsonb NOT NULL DEFAULT '{}',
    waits        boolean NOT NULL DEFAULT false, -- paused by binlog_mode: a RESUME goes on
    resumed      boolean NOT NULL DEFAULT false, -- that RESUME has come
    cleaned      boolean NOT NULL DEFAULT false
);

CREATE TABLE IF NOT EXISTS hologres.rebuild_step (
    query_id   text NOT NULL REFERENCES hologres.rebuild ON DELETE CASCADE,
    step_id    integer NOT NULL,
    step       text NOT NULL,
    status     text CHECK (status IN ('done', 'doing', 'error')),
    progress   text NOT NULL,
    start_time timestamptz,
    end_time   timestamptz,
    attempt    integer NOT NULL DEFAULT 0,
    pid        integer,
    message    text NOT NULL DEFAULT '',
    PRIMARY KEY (query_id, step_id)
);

-- A part of the table that one transaction copies: blocks [from_block, to_block) of relid, which is the
-- table or one of its partitions. file: which file that was when it was cut.
CREATE TABLE IF NOT EXISTS hologres.rebuild_slice (
    query_id   text NOT NULL REFERENCES hologres.rebuild ON DELETE CASCADE,
    slice      integer NOT NULL,
    relid      oid NOT NULL,
    from_block bigint NOT NULL,
    to_block   bigint NOT NULL,
    file       text NOT NULL,
    done       boolean NOT NULL DEFAULT false,
    PRIMARY KEY (query_id, slice)
);

-- A partition of any level whose changes the rebuild follows. mark: the trigger that it has from its parent
-- while it is attached; another one says that it was away. copy: its counterpart; NULL: its rows go
-- where their values belong.
CREATE TABLE IF NOT EXISTS hologres.rebuild_child (
    query_id text NOT NULL REFERENCES hologres.rebuild ON DELETE CASCADE,
    relid    oid NOT NULL,
    mark     oid NOT NULL,
    bound    text NOT NULL,
    copy     oid,
    PRIMARY KEY (query_id, relid)
);

-- As the first revision had them. Slices of no file: the copy starts again (is_followed).
ALTER TABLE hologres.rebuild DROP COLUMN IF EXISTS filenode;
ALTER TABLE hologres.rebuild_slice ADD COLUMN IF NOT EXISTS file text NOT NULL DEFAULT '';
ALTER TABLE hologres.rebuild_slice ALTER COLUMN file DROP DEFAULT;

ALTER TABLE hologres.rebuild ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS see ON hologres.rebuild;
CREATE POLICY see ON hologres.rebuild FOR SELECT
    USING (EXISTS (SELECT FROM pgveneer.task t WHERE t.task_id = query_id));
ALTER TABLE hologres.rebuild_step ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS see ON hologres.rebuild_step;
CREATE POLICY see ON hologres.rebuild_step FOR SELECT
    USING (EXISTS (SELECT FROM pgveneer.task t WHERE t.task_id = query_id));
ALTER TABLE hologres.rebuild_slice ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS see ON hologres.rebuild_slice;
CREATE POLICY see ON hologres.rebuild_slice FOR SELECT
    USING (EXISTS (SELECT FROM pgveneer.task t WHERE t.task_id = query_id));
GRANT SELECT ON hologres.rebuild, hologres.rebuild_step, hologres.rebuild_slice TO PUBLIC;

-- Errors whose parts are values; an empty hint is none.
CREATE OR REPLACE FUNCTION hologres.raise(code text, message text, hint text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF coalesce(hint, '') = '' THEN
        RAISE EXCEPTION '%', message USING ERRCODE = code;
    END IF;
    RAISE EXCEPTION '%', message USING ERRCODE = code, HINT = hint;
END $$;

-- Tables ---------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION hologres.qualified_name(rel oid) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off
AS $$
    SELECT format('%I.%I', n.nspname, c.relname)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = rel
$$;

-- The search_path that counts is the caller's: therefore no SET here, and nothing else in it.
CREATE OR REPLACE FUNCTION hologres.find_relation(parts text[]) RETURNS oid
    LANGUAGE sql STABLE
AS $$
    SELECT pg_catalog.to_regclass((
        SELECT pg_catalog.string_agg(pg_catalog.quote_ident(p), '.' ORDER BY n)
          FROM pg_catalog.unnest($1) WITH ORDINALITY u(p, n)))::pg_catalog.oid
$$;

CREATE OR REPLACE FUNCTION hologres.owns_relation(rel oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = rel $$;

CREATE OR REPLACE FUNCTION hologres.column_names(rel oid) RETURNS text[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
     WHERE attrelid = rel AND attnum > 0 AND NOT attisdropped
$$;

-- From PostgreSQL 18 on NOT NULL is a constraint, which may be there and never have been proved.
CREATE OR REPLACE FUNCTION hologres.is_never_null(a pg_attribute) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT a.attnotnull AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'n'
                                           AND k.conkey = ARRAY[a.attnum] AND NOT k.convalidated)
$$;

-- The table of a name, for a caller who owns it; NULL where it may be missing.
CREATE OR REPLACE FUNCTION hologres.own_table(rel oid, name text[], if_exists boolean) RETURNS oid
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    shown text := array_to_string(name, '.');
BEGIN
    IF rel IS NULL AND if_exists THEN
        RAISE NOTICE 'relation "%" does not exist, skipping', shown;
        RETURN NULL;
    ELSIF rel IS NULL THEN
        RAISE EXCEPTION 'relation "%" does not exist', shown USING ERRCODE = '42P01';
    ELSIF (SELECT relkind NOT IN ('r', 'p') FROM pg_class WHERE oid = rel) THEN
        RAISE EXCEPTION '"%" is not a table', shown USING ERRCODE = '42809';
    ELSIF NOT hologres.owns_relation(rel) THEN
        RAISE EXCEPTION 'must be owner of table %', name[cardinality(name)]
            USING ERRCODE = '42501';
    END IF;
    RETURN rel;
END $$;

-- Properties -------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS hologres.table_property (
    relid oid NOT NULL,
    key   text NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (relid, key)
);
ALTER TABLE hologres.table_property ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS see ON hologres.table_property;
CREATE POLICY see ON hologres.table_property FOR SELECT USING (true);
DROP POLICY IF EXISTS make ON hologres.table_property;
CREATE POLICY make ON hologres.table_property FOR INSERT WITH CHECK (hologres.owns_relation(relid));
DROP POLICY IF EXISTS change ON hologres.table_property;
CREATE POLICY change ON hologres.table_property FOR UPDATE USING (hologres.owns_relation(relid))
    WITH CHECK (hologres.owns_relation(relid));
DROP POLICY IF EXISTS remove ON hologres.table_property;
CREATE POLICY remove ON hologres.table_property FOR DELETE USING (hologres.owns_relation(relid));
GRANT SELECT, INSERT, UPDATE, DELETE ON hologres.table_property TO PUBLIC;

CREATE OR REPLACE VIEW hologres.hg_table_properties AS
    SELECT n.nspname::text AS table_namespace, c.relname::text AS table_name,
           p.key AS property_key, p.value AS property_value
      FROM hologres.table_property p
      JOIN pg_catalog.pg_class c ON c.oid = p.relid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace;
GRANT SELECT ON hologres.hg_table_properties TO PUBLIC;

-- What values a property takes, under which key it is stored, and what becomes of it here.
CREATE TABLE IF NOT EXISTS hologres.known_property (
    name   text PRIMARY KEY,
    stored text NOT NULL,  -- property_key
    takes  text NOT NULL,  -- columns, order (column:asc), switch (column:on), number, text, boolean, or a list of values
    effect text            -- why there is none; NULL: see rebuild_copy_property
);
GRANT SELECT ON hologres.known_property TO PUBLIC;
INSERT INTO hologres.known_property (name, stored, takes, effect) VALUES
    ('orientation', 'orientation', 'row|column|row,column|column,row',
     'tables of PostgreSQL are stored by row'),
    ('distribution_key', 'distribution_key', 'columns', 'the database is not distributed'),
    ('clustering_key', 'clustering_key', 'order', NULL),
    ('event_time_column', 'segment_key', 'columns', NULL),
    ('segment_key', 'segment_key', 'columns', NULL),
    ('bitmap_columns', 'bitmap_columns', 'switch',
     'PostgreSQL makes bitmaps of its own from any index'),
    ('dictionary_encoding_columns', 'dictionary_encoding_columns', 'switch',
     'PostgreSQL has no dictionary encoding'),
    ('table_group', 'table_group', 'text', NULL),
    ('time_to_live_in_seconds', 'time_to_live_in_seconds', 'number', 'rows do not expire'),
    ('storage_format', 'storage_format', 'text', 'PostgreSQL has one storage format'),
    ('storage_mode', 'storage_mode', 'text', 'PostgreSQL has one storage mode'),
    ('binlog.level', 'binlog.level', 'none|replica',
     'changes are published by CREATE PUBLICATION'),
    ('binlog_level', 'binlog.level', 'none|replica',
     'changes are published by CREATE PUBLICATION'),
    ('binlog.ttl', 'binlog.ttl', 'number', 'the server keeps its log as it needs it'),
    ('binlog_ttl', 'binlog.ttl', 'number', 'the server keeps its log as it needs it'),
    ('partition_expiration_time', 'partition_expiration_time', 'text', 'partitions do not expire'),
    ('partition_keep_hot_window', 'partition_keep_hot_window', 'text',
     'there is no cold storage'),
    ('partition_require_filter', 'partition_require_filter', 'boolean',
     'queries without a filter are allowed'),
    ('partition_generate_binlog_window', 'partition_generate_binlog_window', 'text',
     'changes are published by CREATE PUBLICATION'),
    ('keep_alive', 'keep_alive', 'boolean', 'partitions do not expire')
ON CONFLICT (name) DO UPDATE
   SET stored = excluded.stored, takes = excluded.takes, effect = excluded.effect;

CREATE OR REPLACE FUNCTION hologres.find_property(name text) RETURNS hologres.known_property
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT k FROM hologres.known_property k WHERE k.name = find_property.name
    UNION ALL
    SELECT (name, name, 'text', 'partitions are made by hand')::hologres.known_property
     WHERE starts_with(name, 'auto_partitioning.')
$$;

-- Storage parameters of PostgreSQL itself; the server judges their values.
CREATE OR REPLACE FUNCTION hologres.is_storage_parameter(name text) RETURNS boolean
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT name IN ('fillfactor', 'toast_tuple_target', 'parallel_workers', 'vacuum_index_cleanup',
                    'vacuum_truncate', 'user_catalog_table', 'log_autovacuum_min_duration')
        OR starts_with(name, 'autovacuum_') OR starts_with(name, 'toast.')
$$;

-- a, b:desc, "C d" as [[name, suffix], …]; NULL: it cannot be read.
CREATE OR REPLACE FUNCTION hologres.read_column_list(list text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    item constant text := E'^\\s*(?:"((?:[^"]|"")+)"|([^\\s",:]+))\\s*(?::\\s*(\\w+)\\s*)?(,|$)';
    rest text := list;
    m text[];
    found_items jsonb := '[]';
BEGIN
    LOOP
        m := regexp_match(rest, item);
        IF m IS NULL THEN
            RETURN NULL;
        END IF;
        found_items := found_items || jsonb_build_array(jsonb_build_array(
            coalesce(replace(m[1], '""', '"'), lower(m[2])), lower(m[3])));
        EXIT WHEN m[4] = '';
        rest := regexp_replace(rest, item, '');
    END LOOP;
    RETURN found_items;
END $$;

-- The nearest known name, for a hint: the one that shares most pairs of letters.
CREATE OR REPLACE FUNCTION hologres.nearest_property(name text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT k.name FROM hologres.known_property k
     ORDER BY (SELECT count(*) FROM generate_series(1, length(k.name) - 1) i
                WHERE strpos(nearest_property.name, substr(k.name, i, 2)) > 0)::numeric
              / length(k.name) DESC, k.name LIMIT 1
$$;
