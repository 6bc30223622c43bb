"""What PostgreSQL 18 has and 15 has not, through a rebuild that copies the rows: NOT NULL with a name, a comment, not
proved, NO INHERIT; constraints that are NOT ENFORCED; virtual columns; keys WITHOUT OVERLAPS; foreign keys of
partitioned tables that are NOT VALID. And all that test_fidelity has.

Every other test of rebuilds runs on PostgreSQL 18 with PGVENEER_TEST_PG=18 in the environment."""
import subprocess
import sys

import test_fidelity
from cluster import Scenarios, equal
from rebuild import Rebuild

MORE = r"""
    ALTER TABLE shop.customer ALTER COLUMN mood SET NOT NULL;
    ALTER TABLE shop.customer RENAME CONSTRAINT customer_name_not_null TO "A name is needed";
    ALTER TABLE shop.customer ADD CONSTRAINT later NOT NULL mail NOT VALID;
    ALTER TABLE shop.customer ADD CONSTRAINT alone NOT NULL at NO INHERIT;
    ALTER TABLE shop.customer ADD CONSTRAINT wish CHECK (v < 100) NOT ENFORCED;
    ALTER TABLE shop.customer ADD CONSTRAINT of_country_wish FOREIGN KEY (serialno) REFERENCES shop.country NOT ENFORCED;
    ALTER TABLE shop.customer ADD whisper text GENERATED ALWAYS AS (lower(name)) VIRTUAL;
    COMMENT ON CONSTRAINT "A name is needed" ON shop.customer IS 'of NOT NULL';
    COMMENT ON CONSTRAINT later ON shop.customer IS 'of NOT NULL that is not proved';
    COMMENT ON CONSTRAINT wish ON shop.customer IS 'of what is not enforced'"""
DESCRIPTION = r"""
    \pset pager off
    \d+ shop.*
    SELECT conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated, conenforced, connoinherit FROM pg_constraint
     WHERE connamespace = 'shop'::regnamespace ORDER BY conrelid::regclass::text, conname;
    SELECT i.type, i.identity, d.description FROM pg_description d, pg_identify_object(classoid, objoid, objsubid) i
     WHERE i.identity LIKE '%shop.%' ORDER BY 1, 2;
    SELECT c.oid::regclass, c.relkind, c.relowner::regrole, c.relacl, c.reloptions, t.reloptions, c.relreplident
      FROM pg_class c LEFT JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.relnamespace = 'shop'::regnamespace ORDER BY c.relname;
    SELECT attrelid::regclass, attname, attacl, attoptions, attstattarget FROM pg_attribute
     WHERE (attacl, attoptions, attstattarget) IS DISTINCT FROM (NULL, NULL, NULL) AND attrelid::regclass::text LIKE 'shop.%' ORDER BY attrelid::regclass::text, attname;
    SELECT indexrelid::regclass, pg_get_indexdef(indexrelid), indisclustered, indisreplident, indisvalid FROM pg_index
     WHERE indexrelid::regclass::text LIKE 'shop.%' ORDER BY indexrelid::regclass::text;
    SELECT pg_get_statisticsobjdef(oid), stxstattarget FROM pg_statistic_ext ORDER BY 1;
    SELECT * FROM pg_publication_tables ORDER BY 1, 2, 3;
    SELECT pg_get_functiondef(oid), proacl FROM pg_proc WHERE pronamespace = 'shop'::regnamespace ORDER BY 1;
    SELECT * FROM pg_sequences WHERE schemaname = 'shop' ORDER BY 1, 2"""


def describe(r):
    """What pg_dump would tell; there is none of this version."""
    done = subprocess.run(["psql", "-XA", "-v", "ON_ERROR_STOP=1"], input=DESCRIPTION, text=True, capture_output=True, timeout=120,
                          env=r.cluster.direct.env("postgres", "app"))
    equal(done.returncode, 0, done.stderr)
    return done.stdout.splitlines()


def same(r):
    before, content, oid = describe(r), test_fidelity.rows(r), r.sql("SELECT 'shop.customer'::regclass::oid")
    assert any("c_always" in line for line in before), "\n".join(before)
    for _ in range(2):
        test_fidelity.rebuild(r, "SET (fillfactor = 80)")
        assert r.sql("SELECT 'shop.customer'::regclass::oid") != oid, "nothing was copied"
        test_fidelity.compare(before, describe(r))
        equal(test_fidelity.rows(r), content, "rows")
    equal(test_fidelity.leftovers(r), "", "left behind")


def uses(r):
    r.sql("ALTER TABLE shop.customer DROP CONSTRAINT later")
    test_fidelity.uses(r)


def not_nulls(r):
    """Their names are those that ALTER TABLE gives; what the rows may violate stays so, or is proved by SET NOT NULL."""
    names = "SELECT string_agg(concat_ws(' ', conname, pg_get_constraintdef(oid)), ', ' ORDER BY conname) FROM pg_constraint WHERE conrelid = '{}'::regclass AND contype IN ('n', 'c')"
    for t in ("n1", "n2"):
        r.sql(f"CREATE TABLE {t} (id int, k int, v text, d text, UNIQUE (v)); INSERT INTO {t} VALUES (1, 1, NULL, NULL), (2, 2, 'b', 'x');"
              f"ALTER TABLE {t} ADD NOT NULL v NOT VALID, ADD NOT NULL d NOT VALID")
    action = "ADD c int NOT NULL DEFAULT 1 CHECK (c > 0), ALTER k SET NOT NULL, ALTER d DROP NOT NULL"
    r.rebuild(f"ASYNC REBUILD TABLE n1 WITH (keep_source) ALTER PRIMARY KEY (id), {action}")
    r.sql("ALTER TABLE n2 ADD PRIMARY KEY (id)")
    for part in action.split(", "):
        r.sql(f"ALTER TABLE n2 {part}")
    equal(r.sql(names.format("n1")).replace("n1", "n2"), r.sql(names.format("n2")), "as ALTER TABLE")
    equal(r.sql("SELECT count(*) FROM n1 WHERE v IS NULL"), "1", "row")
    equal(r.sql_error("INSERT INTO n1 (id, k) VALUES (9, 9)").sqlstate, "23502", "new rows")
    id = r.submit("ASYNC REBUILD TABLE n1 ALTER v SET NOT NULL, SET (fillfactor = 90)")
    step, message = r.wait_error(id)
    equal((step, "violates not-null constraint" in message), ("insert", True), message)
    r.sql(f"CALL hg_clean_rebuild_tmp_tables('{id}'); DELETE FROM n1 WHERE v IS NULL")
    r.rebuild("ASYNC REBUILD TABLE n1 ALTER v SET NOT NULL")
    equal(r.sql("SELECT convalidated FROM pg_constraint WHERE conname = 'n1_v_not_null' AND conrelid = 'n1'::regclass"), "t", "proved in place")
    r.rebuild("ASYNC REBUILD TABLE n1 ALTER PRIMARY KEY (id, v), TO PARTITION BY LIST (v)")
    equal("tmp_rebuild" in r.sql(names.format("n1")), False, r.sql(names.format("n1")))
    r.sql("CREATE TABLE n3 (id int PRIMARY KEY, ds text); ALTER TABLE n3 ADD CONSTRAINT only_here CHECK (id > 0) NO INHERIT")
    e = r.sql_error("ASYNC REBUILD TABLE n3 ALTER PRIMARY KEY (id, ds), TO PARTITION BY LIST (ds)")
    equal((e.sqlstate, '"only_here" is NO INHERIT' in str(e)), ("42P16", True), str(e))


def temporal(r):
    """WITHOUT OVERLAPS and PERIOD; rows that change meanwhile are known by such a key, too."""
    r.sql("""CREATE TABLE room (id int4range, at daterange, v text, PRIMARY KEY (id, at WITHOUT OVERLAPS), CONSTRAINT once UNIQUE (at, id WITHOUT OVERLAPS));
        INSERT INTO room SELECT int4range(i, i + 1), daterange('2025-01-01', '2026-01-01'), 'v' FROM generate_series(1, 500) i;
        CREATE TABLE booking (room int4range, during daterange, CONSTRAINT of_room FOREIGN KEY (room, PERIOD during) REFERENCES room (id, PERIOD at));
        INSERT INTO booking VALUES ('[7,8)', '[2025-02-01,2025-02-03)')""")
    text = "SELECT string_agg(concat_ws(' ', conname, pg_get_constraintdef(oid), convalidated), ', ' ORDER BY conname) FROM pg_constraint WHERE conrelid IN ('room'::regclass, 'booking'::regclass)"
    before = r.sql(text)
    id = r.submit("ASYNC REBUILD TABLE room ALTER v TYPE text USING coalesce(nullif(pg_sleep(0.001)::text, ''), v)")
    r.sql("UPDATE room SET at = '[2025-01-01,2025-06-01)' WHERE id = '[9,10)'; DELETE FROM room WHERE id = '[11,12)';"
          "UPDATE room SET v = 'w' WHERE id = '[499,500)'; INSERT INTO room VALUES ('[9,10)', '[2025-06-01,2025-07-01)', 'new')")
    r.wait_done(id)
    equal(r.sql(text), before, "keys")
    equal(r.sql("SELECT count(*), count(*) FILTER (WHERE v = 'w'), count(*) FILTER (WHERE id = '[9,10)') FROM room"), "500|1|2", "rows")
    equal(r.sql_error("INSERT INTO room VALUES ('[9,10)', '[2025-06-30,2025-08-01)')").sqlstate, "23P01", "overlaps")
    equal(r.sql_error("DELETE FROM room WHERE id = '[7,8)'").sqlstate, "23503", "period")
    equal(r.admin(f"SELECT count(*) FROM pg_class WHERE relname LIKE '%{id}%'"), "0", "left behind")


def virtual(r):
    r.sql("CREATE TABLE g (id int PRIMARY KEY, n int, d int GENERATED ALWAYS AS (n * 2)); INSERT INTO g (id, n) SELECT i, i FROM generate_series(1, 100) i")
    before = r.sql("SELECT 'g'::regclass::oid")
    r.rebuild("ASYNC REBUILD TABLE g ADD e int GENERATED ALWAYS AS (id + n) VIRTUAL")
    equal(r.sql("SELECT 'g'::regclass::oid"), before, "in place")
    r.rebuild("ASYNC REBUILD TABLE g ADD f int GENERATED ALWAYS AS (id - n) STORED, SET (fillfactor = 90)")
    equal(r.sql("SELECT string_agg(attname || attgenerated::text, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'g'::regclass AND attnum > 0"), "id n dv ev fs", "kinds")
    equal(r.sql("SELECT sum(d), sum(e), sum(f) FROM g"), "10100|10100|0", "values")
    equal(r.sql_error("ASYNC REBUILD TABLE g ALTER n TYPE bigint USING n").sqlstate, "0A000", "as ALTER TABLE")


def partitioned(r):
    """Foreign keys that were never proved, identity that partitions share, NOT NULL of a tree."""
    r.sql("""CREATE TABLE p_country (id int PRIMARY KEY); INSERT INTO p_country VALUES (1);
        CREATE TABLE p (id int GENERATED ALWAYS AS IDENTITY, ds text CONSTRAINT "ds is needed" NOT NULL, c int, PRIMARY KEY (id, ds)) PARTITION BY LIST (ds);
        CREATE TABLE p_a PARTITION OF p FOR VALUES IN ('a'); CREATE TABLE p_b PARTITION OF p FOR VALUES IN ('b');
        INSERT INTO p (ds, c) VALUES ('a', 1), ('b', 77); ALTER TABLE p ADD CONSTRAINT later FOREIGN KEY (c) REFERENCES p_country NOT VALID,
        ADD CONSTRAINT wish FOREIGN KEY (id) REFERENCES p_country NOT ENFORCED""")
    text = "SELECT string_agg(concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated), ', ' ORDER BY conrelid::regclass::text, conname) FROM pg_constraint WHERE conrelid::regclass::text IN ('p', 'p_a', 'p_b') AND conparentid = 0"
    before = r.sql(text)
    r.rebuild("ASYNC REBUILD TABLE p SET (fillfactor = 90)")
    equal(r.sql(text), before, "constraints")
    equal(r.sql_error("INSERT INTO p (ds, c) VALUES ('a', 5)").sqlstate, "23503", "used")
    r.sql("INSERT INTO p_b (ds, c) VALUES ('b', 1); INSERT INTO p (ds) VALUES ('a')")
    equal(r.sql("SELECT string_agg(id || ds, ' ' ORDER BY id) FROM p"), "1a 2b 4b 5a", "identity")


s = Scenarios("PostgreSQL 18")
TESTS = {"fidelity": same, "objects work on the new table": uses, "NOT NULL": not_nulls, "WITHOUT OVERLAPS": temporal,
         "virtual columns": virtual, "partitioned": partitioned}
with Rebuild(version=18) as r:
    r.admin(test_fidelity.ROLES)
    r.sql(test_fidelity.SCHEMA + ";" + MORE)
    for name, test in TESTS.items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            s.run(name, test, r)
sys.exit(s.finish())
