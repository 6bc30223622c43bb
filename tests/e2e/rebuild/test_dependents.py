"""What hangs on a table and is not part of it: views with changed column types, bodies of functions, row types,
rules and policies of other tables. docs/rebuild.md has a table of them; each row of it is a scenario here."""
import sys

from cluster import Scenarios, equal
from rebuild import Rebuild

s = Scenarios("dependents")


def describe(r, view):
    """All that a view carries, but for its oid and the types of its columns."""
    return r.admin(f"""SELECT pg_get_userbyid(relowner), reloptions, coalesce(relacl, acldefault('r', relowner)), obj_description(v, 'pg_class'),
        (SELECT string_agg(concat_ws(' ', attname, attacl::text, col_description(v, attnum), pg_get_expr(adbin, adrelid)), ', '
            ORDER BY attnum) FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = v AND adnum = attnum WHERE attrelid = v AND attnum > 0),
        (SELECT string_agg(concat_ws(' ', pg_get_triggerdef(t.oid), obj_description(t.oid, 'pg_trigger')), '; ' ORDER BY tgname)
            FROM pg_trigger t WHERE tgrelid = v),
        (SELECT string_agg(concat_ws(' ', pg_get_ruledef(w.oid), obj_description(w.oid, 'pg_rewrite'), ev_enabled), '; ' ORDER BY rulename)
            FROM pg_rewrite w WHERE ev_class = v AND rulename <> '_RETURN')
        FROM (SELECT '{view}'::regclass::oid AS v) x JOIN pg_class ON oid = v""")


def types(r, view):
    return r.sql(f"SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute "
                 f"WHERE attrelid = '{view}'::regclass AND attnum > 0")


def oid(r, name, kind="regclass"):
    return r.sql(f"SELECT '{name}'::{kind}::oid")


def changed_views(r):
    """Views whose columns change their type, those above them, and those that stay as they are."""
    r.sql("""CREATE SCHEMA other; CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TABLE v1 (id int PRIMARY KEY, n int, v text); INSERT INTO v1 SELECT i, i, 'v' || i FROM generate_series(1, 100) i;
        CREATE VIEW v1_same AS SELECT id, v FROM v1;
        CREATE VIEW v1_a WITH (security_barrier) AS SELECT id, n, n * 2 AS "Twice", v FROM v1 WHERE n > 0 WITH CASCADED CHECK OPTION;
        CREATE VIEW other.v1_b (number, "long name") AS SELECT a.n, s.v FROM v1_a a JOIN v1_same s USING (id);
        CREATE VIEW v1_c AS SELECT number FROM other.v1_b UNION ALL SELECT n FROM v1;
        CREATE VIEW v1_only_filter AS SELECT v FROM v1 WHERE n < 10;
        ALTER VIEW v1_a ALTER COLUMN v SET DEFAULT 'of the view';
        CREATE TRIGGER on_b INSTEAD OF INSERT ON other.v1_b FOR EACH ROW EXECUTE FUNCTION note();
        CREATE RULE on_c AS ON INSERT TO v1_c DO INSTEAD INSERT INTO v1 (id, n) VALUES (NEW.number + 1000, NEW.number);
        CREATE RULE on_a AS ON DELETE TO v1_a DO INSTEAD NOTHING;
        COMMENT ON VIEW v1_a IS 'of a'; COMMENT ON COLUMN v1_a."Twice" IS 'of its column'; COMMENT ON TRIGGER on_b ON other.v1_b IS 'of the trigger';
        COMMENT ON RULE on_c ON v1_c IS 'of the rule'""")
    r.admin("""CREATE ROLE viewer; CREATE ROLE keeper; GRANT keeper TO service; GRANT CREATE, USAGE ON SCHEMA public TO keeper;
        GRANT SELECT ON v1_a TO viewer WITH GRANT OPTION; GRANT SELECT (number), UPDATE (number) ON other.v1_b TO viewer; GRANT ALL ON v1 TO keeper;
        ALTER VIEW v1_c OWNER TO keeper; GRANT SELECT ON other.v1_b TO keeper; GRANT SELECT, INSERT ON v1_c TO app; GRANT USAGE ON SCHEMA other TO keeper;
        ALTER DEFAULT PRIVILEGES FOR ROLE app GRANT DELETE ON TABLES TO viewer""")
    views = ["v1_a", "other.v1_b", "v1_c", "v1_same", "v1_only_filter"]
    before, same = [describe(r, v) for v in views], oid(r, "v1_same")
    r.rebuild("ASYNC REBUILD TABLE v1 ALTER n TYPE numeric(12,2) USING n + 0.5")
    for view, was in zip(views, before):
        equal(describe(r, view).replace("(1000)::numeric", "1000"), was, view)
    equal(oid(r, "v1_same"), same, "a view that stays keeps its oid")
    equal(types(r, "v1_a"), 'id integer, n numeric(12,2), Twice numeric, v text', "types")
    equal(types(r, "v1_c"), 'number numeric(12,2)', "types above")
    equal(r.sql("SELECT count(*), sum(number), (SELECT count(*) FROM v1_only_filter) FROM v1_c"), "200|10200.00|9", "rows")
    r.sql("INSERT INTO v1_c VALUES (7.25)")
    equal(r.sql("SELECT n FROM v1 WHERE id = 1007"), "7.25", "rule on a view")
    equal(r.sql_error("INSERT INTO v1_a (id, n) VALUES (5000, -1)").sqlstate, "44000", "check option")


def rules_on_views(r):
    """A rule on a view that stays, whose action writes to the table."""
    r.sql("""CREATE TABLE v2 (id int PRIMARY KEY, v text); CREATE VIEW v2_v AS SELECT id FROM v2;
        CREATE RULE v2_i AS ON INSERT TO v2_v DO INSTEAD INSERT INTO v2 VALUES (NEW.id, 'of the rule');
        CREATE TABLE v2_log (id int); COMMENT ON RULE v2_i ON v2_v IS 'c';
        CREATE RULE v2_u AS ON INSERT TO v2_log DO ALSO UPDATE v2 SET v = 'logged' WHERE v2.id = NEW.id;
        ALTER TABLE v2_log ENABLE ALWAYS RULE v2_u""")
    before = describe(r, "v2_v"), describe(r, "v2_log")
    r.rebuild("ASYNC REBUILD TABLE v2 SET (fillfactor = 90)")
    equal((describe(r, "v2_v"), describe(r, "v2_log")), before, "the rules")
    equal(r.sql("INSERT INTO v2_v VALUES (1); SELECT * FROM v2"), "1|of the rule", "used")
    equal(r.sql("INSERT INTO v2_log VALUES (1); SELECT * FROM v2"), "1|logged", "used")
    equal(r.sql("SELECT count(*) FROM pg_class WHERE relname LIKE 'tmp\\_rebuild%'"), "0", "left behind")


def changed_views_refused(r):
    """A definition that has no meaning with the new type is told at submit, with every other reason."""
    r.sql("""CREATE TABLE v3 (id int PRIMARY KEY, n int, v text); CREATE VIEW v3_a AS SELECT id, n + 1 AS m FROM v3;
        CREATE VIEW v3_b AS SELECT m % 7 AS k FROM v3_a; CREATE VIEW v3_c AS SELECT length(v) FROM v3""")
    e = r.sql_error("ASYNC REBUILD TABLE v3 ALTER n TYPE date USING date '2020-01-01' + n, ALTER v TYPE bytea USING v::bytea,"
                    "ADD id int")
    assert all(x in str(e) for x in ("already exists (42701)", "view public.v3_b")), str(e)
    assert "v3_c" not in str(e), "length(bytea) exists"
    e = r.sql_error("ASYNC REBUILD TABLE v3 ALTER n TYPE jsonb USING to_jsonb(n)")
    equal((e.sqlstate, "view public.v3_a" in str(e)), ("42883", True), str(e))
    r.rebuild("ASYNC REBUILD TABLE v3 ALTER n TYPE bigint USING n")
    equal(types(r, "v3_b"), "k bigint", "types")


TESTS = {"views of changed columns": changed_views, "rules on views": rules_on_views, "refused views": changed_views_refused}
with Rebuild() as r:
    for name, test in TESTS.items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            s.run(name, test, r)
sys.exit(s.finish())
