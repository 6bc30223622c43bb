"""What hangs on a table and is not part of it: views with changed column types, bodies of functions, row types,
rules and policies of other tables. docs/rebuild.md has a table of them; each row of it is a scenario here."""
import os
import shutil
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


def bodies(r):
    """Functions and procedures in BEGIN ATOMIC keep their oid; what they read changes under them."""
    r.sql("""CREATE TABLE f1 (id int PRIMARY KEY, n int, v text); INSERT INTO f1 SELECT i, i, 'v' || i FROM generate_series(1, 10) i;
        CREATE VIEW f1_v AS SELECT id, n FROM f1;
        CREATE FUNCTION f1_sum(more int DEFAULT 1) RETURNS numeric STABLE BEGIN ATOMIC SELECT sum(n) + more FROM f1; END;
        CREATE FUNCTION f1_views() RETURNS bigint STABLE SECURITY DEFINER SET work_mem = '1MB' RETURN (SELECT count(*) FROM f1_v WHERE n > 5);
        CREATE PROCEDURE f1_put(a int, b int) BEGIN ATOMIC INSERT INTO f1 (id, n) VALUES (a, b); DELETE FROM f1 WHERE id = a - 1; END;
        CREATE VIEW f1_w AS SELECT f1_sum(id) AS s FROM f1_v;
        COMMENT ON FUNCTION f1_sum IS 'of the function'; REVOKE EXECUTE ON FUNCTION f1_sum FROM PUBLIC""")
    text = """SELECT string_agg(concat_ws(' ', oid, pg_get_userbyid(proowner), proacl, obj_description(oid, 'pg_proc'),
        regexp_replace(pg_get_functiondef(oid), '::numeric|[()]', '', 'g')), E'\n' ORDER BY proname) FROM pg_proc WHERE proname LIKE 'f1\\_%'"""
    before = r.sql(text)
    for action in ("SET (fillfactor = 90)", "ALTER n TYPE numeric(9,1) USING n + 0.5"):
        r.rebuild(f"ASYNC REBUILD TABLE f1 {action}")
        equal(r.sql(text), before, action)
    equal(r.sql("SELECT f1_sum(0), f1_views(), (SELECT count(*) FROM f1_w)"), "60.0|6|10", "used")
    equal(r.sql("CALL f1_put(12, 1); CALL f1_put(13, 2); SELECT count(*), f1_sum() FROM f1"), "11|63.0", "procedure")
    e = r.sql_error("ASYNC REBUILD TABLE f1 ALTER n TYPE jsonb USING to_jsonb(n)")
    assert all(x in str(e) for x in ("function public.f1_sum(integer)", "42883")), str(e)


def row_types(r):
    """Functions that take or return rows of the table are made anew, with grants, and all that calls them."""
    r.sql("""CREATE SCHEMA api; CREATE TABLE w1 (id int PRIMARY KEY, a text, b text); INSERT INTO w1 SELECT i, 'a' || i, 'b' FROM generate_series(1, 9) i;
        CREATE FUNCTION w1_full(w w1) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT w.a || w.b';
        CREATE FUNCTION api.w1_all() RETURNS SETOF w1 STABLE LANGUAGE sql AS 'SELECT * FROM public.w1';
        CREATE FUNCTION w1_of(n int, OUT hit w1, OUT others w1[]) STABLE LANGUAGE plpgsql AS
            'BEGIN SELECT w.* INTO hit FROM w1 w WHERE id = n; others := ARRAY(SELECT w FROM w1 w WHERE id <> n); END';
        CREATE FUNCTION w1_deep() RETURNS bigint STABLE RETURN (SELECT count(*) FROM api.w1_all());
        CREATE VIEW w1_v AS SELECT w AS whole, w1_full(w) FROM w1 w; CREATE VIEW w1_z AS SELECT (whole).a FROM w1_v;
        CREATE POLICY p ON w1 USING (w1_full(w1.*) <> 'hidden'); ALTER TABLE w1 ENABLE ROW LEVEL SECURITY;
        COMMENT ON FUNCTION w1_full IS 'of the function'; REVOKE EXECUTE ON FUNCTION w1_full FROM PUBLIC""")
    r.admin("""CREATE ROLE caller; CREATE ROLE w1_viewer; GRANT EXECUTE ON FUNCTION w1_full TO caller WITH GRANT OPTION; GRANT SELECT ON w1_v TO caller;
        ALTER DEFAULT PRIVILEGES FOR ROLE app GRANT EXECUTE ON FUNCTIONS TO w1_viewer""")
    text = """SELECT string_agg(concat_ws(' ', pg_get_userbyid(proowner), coalesce(proacl, acldefault('f', proowner)),
        obj_description(oid, 'pg_proc'), pg_get_functiondef(oid)), E'\n' ORDER BY proname) FROM pg_proc WHERE proname LIKE 'w1\\_%'"""
    before = r.sql(text), describe(r, "w1_v"), describe(r, "w1_z")
    deep = oid(r, "w1_deep()", "regprocedure")
    r.rebuild("ASYNC REBUILD TABLE w1 ADD c float8 DEFAULT random()")
    equal((r.sql(text).replace("a, b, c)", "a, b)"), describe(r, "w1_v"), describe(r, "w1_z")), before, "all of it")
    equal(oid(r, "w1_deep()", "regprocedure"), deep, "a body that only calls one keeps its oid")
    equal(r.sql("SELECT w1_full(w), w.w1_full, (SELECT count(c) FROM api.w1_all()), w1_deep(), (w1_of(1)).hit.a FROM w1 w WHERE id = 1"),
          "a1b|a1b|9|9|a1", "used")
    equal(r.sql("SELECT count(*), min(a) FROM w1_z"), "9|a1", "views")
    equal(r.admin("SET ROLE caller; SELECT count((whole).c) FROM w1_v"), "9", "grants")
    r.rebuild("ASYNC REBUILD TABLE w1 ALTER b TYPE varchar(9) USING b || '!'")
    equal(r.sql("SELECT w1_full FROM w1_v WHERE (whole).id = 1"), "a1b!", "with another type")
    r.sql("""CREATE TABLE w1_log (at timestamptz, was w1); CREATE DOMAIN w1_d AS w1;
        CREATE FUNCTION w1_pick(x w1, y w1) RETURNS w1 LANGUAGE sql AS 'SELECT y'; CREATE AGGREGATE w1_last(w1) (sfunc = w1_pick, stype = w1)""")
    e = r.sql_error("ASYNC REBUILD TABLE w1 ADD d float8 DEFAULT random()")
    assert e.sqlstate == "0A000" and all(x in str(e) for x in ("column was of table public.w1_log", "type public.w1_d", "function public.w1_last(public.w1)")), str(e)


def others(r):
    """Rules and policies of other tables that read the table."""
    r.sql("""CREATE TABLE o1 (id int PRIMARY KEY, who text, n int); INSERT INTO o1 VALUES (1, 'app', 1), (2, 'reader', 2);
        CREATE TABLE o2 (id int, v text); INSERT INTO o2 VALUES (1, 'one'), (2, 'two'), (3, 'three');
        CREATE POLICY mine ON o2 AS RESTRICTIVE FOR SELECT USING (EXISTS (SELECT FROM o1 WHERE o1.id = o2.id AND o1.who = current_user));
        CREATE POLICY all_of_it ON o2 USING (true) WITH CHECK (id IN (SELECT n FROM o1)); ALTER TABLE o2 ENABLE ROW LEVEL SECURITY;
        CREATE RULE count_it AS ON INSERT TO o2 DO ALSO UPDATE o1 SET n = n + 100 WHERE id = NEW.id; COMMENT ON POLICY mine ON o2 IS 'of it'""")
    r.admin("CREATE ROLE outer_reader; GRANT SELECT, INSERT ON o2 TO outer_reader; GRANT SELECT, UPDATE ON o1 TO outer_reader; "
            "INSERT INTO o1 VALUES (3, 'outer_reader', 3)")
    text = "SELECT string_agg(concat_ws(' ', p.oid, p.polname, p.polcmd, p.polroles::text, pg_get_expr(polqual, polrelid), " \
           "pg_get_expr(polwithcheck, polrelid), obj_description(oid, 'pg_policy')), E'\n' ORDER BY polname) FROM pg_policy p WHERE polrelid = 'o2'::regclass"
    before = r.sql(text), describe(r, "o2")
    r.rebuild("ASYNC REBUILD TABLE o1 ALTER who TYPE varchar(40) USING trim(who)")
    equal((r.sql(text).replace("(o1.who)::text", "o1.who"), describe(r, "o2")), before, "policies and rule")
    equal(r.admin("SET ROLE outer_reader; SELECT v FROM o2"), "three", "policy reads the new table")
    equal(r.admin("SET ROLE outer_reader; INSERT INTO o2 VALUES (3, 'x'); RESET ROLE; SELECT n FROM o1 WHERE id = 3"), "103", "the rule writes to it")


def identity_readers(r):
    """What uses the sequence of an identity column elsewhere cannot come along; a view of it can."""
    r.sql("""CREATE TABLE i1 (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text); INSERT INTO i1 (v) VALUES ('a'), ('b');
        CREATE VIEW i1_v AS SELECT last_value FROM i1_id_seq; CREATE TABLE i1_user (id int DEFAULT nextval('i1_id_seq'))""")
    e = r.sql_error("ASYNC REBUILD TABLE i1 SET (fillfactor = 90)")
    equal((e.sqlstate, "default value for column id of table public.i1_user" in str(e)), ("0A000", True), str(e))
    r.sql("DROP TABLE i1_user")
    r.rebuild("ASYNC REBUILD TABLE i1 SET (fillfactor = 90)")
    equal(r.sql("INSERT INTO i1 (v) VALUES ('c'); SELECT last_value FROM i1_v"), "3", "view of the sequence")


def in_the_way(r):
    """What keeps PostgreSQL from changing a type in place: policies, triggers, bodies, filters of publications."""
    r.sql("""CREATE FUNCTION y_note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v := upper(NEW.v); RETURN NEW; END'""")
    for number, (more, check) in enumerate([
            ("CREATE POLICY p ON {t} USING (v <> 'x'); ALTER TABLE {t} ENABLE ROW LEVEL SECURITY",
             "SELECT pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polrelid = '{t}'::regclass"),
            ("CREATE TRIGGER g BEFORE UPDATE OF v ON {t} FOR EACH ROW WHEN (NEW.v <> 'x') EXECUTE FUNCTION y_note()",
             "UPDATE {t} SET v = 'long enough for it'; SELECT v FROM {t}"),
            ("CREATE FUNCTION {t}_f() RETURNS text RETURN (SELECT max(v) FROM {t})", "SELECT {t}_f()")]):
        t = f"y{number}"
        r.sql(f"CREATE TABLE {t} (id int PRIMARY KEY, v varchar(5)); INSERT INTO {t} VALUES (1, 'a');" + more.format(t=t))
        r.rebuild(f"ASYNC REBUILD TABLE {t} ALTER v TYPE varchar(30)")
        equal(r.sql(check.format(t=t)), ("((v)::text <> 'x'::text)", "LONG ENOUGH FOR IT", "a")[number], more)
    r.sql("CREATE TABLE y9 (id int PRIMARY KEY, n int); CREATE POLICY p ON y9 USING (n > 1);"
          "CREATE RULE u AS ON UPDATE TO y9 WHERE NEW.n > 5 DO INSTEAD NOTHING; "
          "CREATE TRIGGER g BEFORE UPDATE ON y9 FOR EACH ROW WHEN (NEW.n > OLD.n) EXECUTE FUNCTION y_note()")
    e = r.sql_error("ASYNC REBUILD TABLE y9 ALTER n TYPE jsonb USING to_jsonb(n)")
    assert all(x in str(e) for x in ('policy "p": ', 'rule "u": ')) and 'trigger "g"' not in str(e), str(e)


def new_keys(r):
    """Another primary key while a foreign key refers to the old one; a view that groups by it."""
    r.sql("""CREATE TABLE k1 (a int PRIMARY KEY, b int NOT NULL, v text); CREATE TABLE k1_child (a int REFERENCES k1, b int);
        CREATE VIEW k1_v AS SELECT a, v, count(*) FROM k1 GROUP BY a; INSERT INTO k1 VALUES (1, 10, 'x'), (2, 20, 'y'); INSERT INTO k1_child VALUES (1, 10)""")
    e = r.sql_error("ASYNC REBUILD TABLE k1 ALTER PRIMARY KEY (b)")
    assert all(x in str(e) for x in ('foreign key "k1_child_a_fkey" refers to the primary key (0A000)', "view public.k1_v",
                                     "must appear in the GROUP BY clause")), str(e)
    r.sql("DROP VIEW k1_v; CREATE UNIQUE INDEX k1_a ON k1 (a); CREATE VIEW k1_v AS SELECT a, v FROM k1")
    r.rebuild("ASYNC REBUILD TABLE k1 ALTER PRIMARY KEY (b)")
    equal(r.sql("SELECT pg_get_constraintdef(oid), convalidated, (SELECT relname FROM pg_class WHERE oid = conindid) FROM pg_constraint "
                "WHERE conrelid = 'k1_child'::regclass"), "FOREIGN KEY (a) REFERENCES k1(a)|t|k1_a", "kept")
    equal(r.sql_error("DELETE FROM k1 WHERE a = 1").sqlstate, "23503", "used")
    equal(r.sql("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype <> 'n' AND conrelid = 'k1'::regclass"), "PRIMARY KEY (b)", "key")
    e = r.sql_error("ASYNC REBUILD TABLE k1 ALTER a TYPE text USING a::text")
    equal((e.sqlstate, 'foreign key "k1_child_a_fkey"' in str(e)), ("42804", True), str(e))
    r.rebuild("ASYNC REBUILD TABLE k1 ALTER a TYPE bigint")
    equal(r.sql("SELECT convalidated FROM pg_constraint WHERE conrelid = 'k1_child'::regclass"), "t", "another type with an operator")


def added_columns(r):
    """Constraints of a column that is added: as ALTER TABLE gives them; a foreign key is proved after the change."""
    r.sql("""CREATE SCHEMA far; CREATE TABLE far.o (a int PRIMARY KEY, u text UNIQUE, n bigint); INSERT INTO far.o VALUES (1, 'one'), (2, 'two');
        CREATE TABLE n1 (id int PRIMARY KEY); INSERT INTO n1 VALUES (1), (2); CREATE TABLE n2 (id int PRIMARY KEY); INSERT INTO n2 VALUES (1), (2)""")
    columns = """ADD p int REFERENCES far.o, ADD q int NOT NULL DEFAULT 1 CONSTRAINT "Q k" REFERENCES o (a) ON DELETE CASCADE DEFERRABLE CHECK (q > 0),
        ADD me int DEFAULT 2 REFERENCES {t} (id), ADD g int GENERATED ALWAYS AS (id * 2) STORED, ADD u int UNIQUE, ADD c text CHECK (c <> '') REFERENCES far.o (u) MATCH FULL"""
    text = "SELECT string_agg(concat_ws(' ', conname, replace(pg_get_constraintdef(oid), '{t}', 't'), convalidated), '; ' ORDER BY conname) FROM pg_constraint WHERE conrelid = '{t}'::regclass"
    r.rebuild("SET search_path = public, far; ASYNC REBUILD TABLE n1 " + columns.format(t="n1"))
    r.sql("SET search_path = public, far; ALTER TABLE n2 " + columns.format(t="n2"))
    equal(r.sql(text.format(t="n1")).replace("n1", "t"), r.sql(text.format(t="n2")).replace("n2", "t"), "as ALTER TABLE")
    r.rebuild("ASYNC REBUILD TABLE n2 ADD z int DEFAULT 1 REFERENCES far.o, ADD w int")  # in place
    equal(r.sql("SELECT convalidated FROM pg_constraint WHERE conname = 'n2_z_fkey'"), "t", "proved")
    equal(r.sql_error("INSERT INTO n2 (id, z) VALUES (3, 9)").sqlstate, "23503", "used")
    id = r.rebuild("ASYNC REBUILD TABLE n2 ADD bad int DEFAULT 99 REFERENCES far.o")
    told = r.steps(id, "status, message")[-1]
    equal((told[0], "(23503)" in told[1] and '"n2_bad_fkey"' in told[1]), ("done", True), told)
    equal(r.sql("SELECT convalidated FROM pg_constraint WHERE conname = 'n2_bad_fkey'"), "f", "not proved")
    for text, code, part in [("ADD x int REFERENCES nowhere", "42P01", 'relation "nowhere" does not exist'),
                             ("ADD x text REFERENCES far.o", "42804", "cannot be implemented"),
                             ("ADD x int REFERENCES far.o (n)", "42830", 'no unique constraint matching given keys for referenced table "o"'),
                             ("ADD x int REFERENCES pg_class (oid)", "42501", "permission denied for table pg_class")]:
        e = r.sql_error("ASYNC REBUILD TABLE n1 " + text)
        equal((e.sqlstate, part in str(e)), (code, True), f"{text}: {e}")


def default_privileges(r):
    """What ALTER DEFAULT PRIVILEGES gives on new tables is given neither on the copy nor on the table afterwards."""
    r.admin("CREATE ROLE p_reader; ALTER DEFAULT PRIVILEGES FOR ROLE app GRANT ALL ON TABLES TO p_reader;"
            "ALTER DEFAULT PRIVILEGES FOR ROLE app GRANT ALL ON SEQUENCES TO p_reader")
    for t, action in (("p1", "SET (fillfactor = 90)"), ("p2", "TO LOGICAL PARTITION BY LIST (k)")):
        r.sql(f"CREATE TABLE {t} (id int GENERATED ALWAYS AS IDENTITY, k int NOT NULL, PRIMARY KEY (id, k));"
              f"INSERT INTO {t} (k) VALUES (1), (2); REVOKE ALL ON {t}, {t}_id_seq FROM p_reader; CREATE TABLE {t}_seen (a text)")
        r.sql(f"CREATE FUNCTION {t}_look() RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO {t}_seen SELECT relname FROM pg_class "
              f"WHERE relname LIKE 'tmp\\_rebuild%' AND relkind IN ('r', 'p') AND has_table_privilege('p_reader', oid, 'SELECT'); RETURN 1; END $$")
        id = r.submit(f"ASYNC REBUILD TABLE {t} ADD x int DEFAULT {t}_look(), {action}")
        r.wait_done(id)
        equal(r.sql(f"SELECT string_agg(a, ' ') FROM {t}_seen"), "", "while it is copied")
        equal(r.sql(f"SELECT string_agg(relname, ' ') FROM pg_class WHERE relname LIKE '{t}%' AND relkind IN ('r', 'p', 'S') AND "
                    f"relname <> '{t}_seen' AND relacl::text LIKE '%p_reader%'"), "", "afterwards")


def keys_of_partitions(r):
    """Foreign keys of a table that becomes partitioned, both ways, and of a partitioned table that refers to it."""
    r.sql("""CREATE TABLE q_country (id int PRIMARY KEY); INSERT INTO q_country VALUES (1), (2);
        CREATE TABLE q (id int, ds text NOT NULL, country int CONSTRAINT "Of country" REFERENCES q_country ON DELETE CASCADE, boss int, boss_ds text,
            PRIMARY KEY (id, ds), CONSTRAINT of_boss FOREIGN KEY (boss, boss_ds) REFERENCES q DEFERRABLE);
        COMMENT ON CONSTRAINT "Of country" ON q IS 'of the key';
        INSERT INTO q SELECT i, 'd' || i % 3, 1 + i % 2, CASE WHEN i > 3 THEN 3 END, CASE WHEN i > 3 THEN 'd0' END FROM generate_series(1, 30) i;
        CREATE TABLE q_order (id int, q int, ds text, CONSTRAINT of_q FOREIGN KEY (q, ds) REFERENCES q ON UPDATE CASCADE);
        CREATE TABLE q_parted (id int, q int, ds text, CONSTRAINT of_q FOREIGN KEY (q, ds) REFERENCES q) PARTITION BY RANGE (id);
        CREATE TABLE q_parted_1 PARTITION OF q_parted FOR VALUES FROM (0) TO (100) PARTITION BY LIST (ds);
        CREATE TABLE q_parted_11 PARTITION OF q_parted_1 DEFAULT; CREATE TABLE q_parted_2 PARTITION OF q_parted FOR VALUES FROM (100) TO (200);
        INSERT INTO q_order VALUES (1, 1, 'd1'); INSERT INTO q_parted VALUES (1, 1, 'd1'), (101, 2, 'd2')""")
    text = """SELECT string_agg(concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated, obj_description(oid, 'pg_constraint')), E'\n'
        ORDER BY conrelid::regclass::text, conname) FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 AND
        (conrelid::regclass::text LIKE 'q%' OR confrelid::regclass::text LIKE 'q%')"""
    before = r.sql(text)
    for action in ("SET (fillfactor = 90)", "TO LOGICAL PARTITION BY LIST (ds)", "ALTER country TYPE bigint"):
        r.rebuild(f"ASYNC REBUILD TABLE q {action}")
        equal(r.sql(text), before, action)
        equal(r.sql("SELECT string_agg(concat_ws(' ', conname, conrelid::regclass, confrelid::regclass, conparentid), ', ') FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 AND NOT convalidated AND conrelid::regclass::text LIKE 'q%'"), "", "proved")
        equal(r.sql_error("INSERT INTO q VALUES (100, 'd0', 9)").sqlstate, "23503", "out")
        equal(r.sql_error("DELETE FROM q WHERE id = 3").sqlstate, "23503", "to itself")
        equal(r.sql_error("INSERT INTO q_order VALUES (2, 77, 'x')").sqlstate, "23503", "in")
        equal(r.sql_error("INSERT INTO q_parted VALUES (102, 77, 'x')").sqlstate, "23503", "in, of a partition")
        equal(r.sql_error("DELETE FROM q WHERE id = 1").sqlstate, "23503", "in")
    r.sql("DELETE FROM q_parted WHERE q = 2; INSERT INTO q VALUES (200, 'new', 2); UPDATE q SET ds = 'd9' WHERE id = 200")
    r.sql("CREATE TABLE q9 (id int, ds text, c int, PRIMARY KEY (id, ds)); ALTER TABLE q9 ADD CONSTRAINT later FOREIGN KEY (c) REFERENCES q_country NOT VALID")
    if r.admin("SHOW server_version_num") < "180000":
        e = r.sql_error("ASYNC REBUILD TABLE q9 TO PARTITION BY LIST (ds)")
        equal((e.sqlstate, 'foreign key "later" is not valid' in str(e)), ("0A000", True), str(e))


def partition_parts(r):
    """What partitions have of their own and keep: replica identity, publications, tablespaces; what goes is told. And foreign
    keys of columns that are added to a partitioned table."""
    spaces = {}
    for name in ("space_a", "space_b"):
        spaces[name] = r.cluster.folder / name
        spaces[name].mkdir()
        if os.getuid() == 0:
            shutil.chown(spaces[name], "postgres", "postgres")
        r.admin(f"CREATE TABLESPACE {name} LOCATION '{spaces[name]}'")
        r.admin(f"GRANT CREATE ON TABLESPACE {name} TO app")
    r.sql("""CREATE TABLE sp (id int PRIMARY KEY USING INDEX TABLESPACE space_a, v text UNIQUE USING INDEX TABLESPACE space_b DEFERRABLE) TABLESPACE space_b;
        CREATE INDEX sp_part ON sp (v) TABLESPACE space_a WHERE v > 'a'; CREATE INDEX sp_none ON sp (v); INSERT INTO sp VALUES (1, 'x')""")
    text = "SELECT string_agg(relname || ' ' || coalesce(spcname, ''), ', ' ORDER BY relname) FROM pg_class c LEFT JOIN pg_tablespace s ON s.oid = reltablespace WHERE relname LIKE 'sp%'"
    before = r.sql(text)
    r.rebuild("ASYNC REBUILD TABLE sp SET (fillfactor = 90)")
    equal(r.sql(text), before, "tablespaces")
    for n, (by, bounds) in enumerate((("LIST (ds)", ("IN ('a')", "IN ('b')", "IN ('c')")), ("RANGE (ds)", ("FROM ('a') TO ('b')", "FROM ('b') TO ('c')", "FROM ('c') TO ('d')")))):
        t = f"s{n}"
        r.sql(f"""CREATE TABLE {t}_o (id int PRIMARY KEY); INSERT INTO {t}_o VALUES (1), (2);
            CREATE TABLE {t} (id int, v text NOT NULL, ds text, PRIMARY KEY (id, ds)) PARTITION BY {by}; CREATE UNIQUE INDEX {t}_v ON {t} (v, ds); CREATE INDEX {t}_sp ON {t} (v) TABLESPACE space_b;
            CREATE TABLE {t}_a PARTITION OF {t} FOR VALUES {bounds[0]} TABLESPACE space_a; CREATE TABLE {t}_b PARTITION OF {t} FOR VALUES {bounds[1]};
            CREATE TABLE {t}_c PARTITION OF {t} FOR VALUES {bounds[2]};
            INSERT INTO {t} SELECT i, i, (ARRAY['a', 'b', 'c'])[1 + i % 3] FROM generate_series(1, 300) i;
            ALTER TABLE {t}_a REPLICA IDENTITY FULL; ALTER TABLE {t}_b REPLICA IDENTITY USING INDEX {t}_b_v_ds_idx; ALTER TABLE {t} REPLICA IDENTITY NOTHING;
            ALTER TABLE {t}_b SET (fillfactor = 60); ALTER TABLE {t}_c ALTER v SET DEFAULT 'of the partition';
            ALTER INDEX {t}_c_v_idx SET TABLESPACE space_a;
            CREATE PUBLICATION {t}_root FOR TABLE {t} (id, ds) WHERE (id > 5) WITH (publish_via_partition_root = true);
            CREATE PUBLICATION {t}_leaf FOR TABLE {t}, {t}_b""")
        def picture():
            return [r.admin("SELECT string_agg(concat_ws(' ', relname, relreplident, spcname), ', ' ORDER BY relname) FROM pg_class c LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace "
                            f"WHERE relname LIKE '{t}%'"),
                    r.admin("SELECT string_agg(c.relname || ' ' || i.relname, ', ' ORDER BY c.relname, i.relname) FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid "
                            f"JOIN pg_class i ON i.oid = x.indexrelid WHERE indisreplident AND c.relname LIKE '{t}%'"),
                    r.admin(f"SELECT string_agg(p::text, E'\n' ORDER BY p::text) FROM pg_publication_tables p WHERE pubname LIKE '{t}%'"),
                    r.admin(f"SELECT string_agg(concat_ws(' ', pubname, prrelid::regclass, prattrs::text, pg_get_expr(prqual, prrelid)), ', ' ORDER BY pubname, prrelid::regclass::text) "
                            f"FROM pg_publication_rel x JOIN pg_publication p ON p.oid = prpubid WHERE pubname LIKE '{t}%'")]
        before = picture()
        told = r.notices(f"ASYNC REBUILD TABLE {t} WITH (binlog_mode) ADD w float8 DEFAULT random(), ADD o int DEFAULT 1 REFERENCES {t}_o ON DELETE CASCADE")
        assert "ERROR" not in told and f"partition public.{t}_b will not keep what it has alone: fillfactor=60" in told, told
        assert f'partition public.{t}_c will not keep what it has alone: default of column "v", tablespace of index {t}_c_v_idx' in told, told
        id = r.admin("SELECT max(task_id) FROM pgveneer.task")
        r.wait_state(id, "paused", "suspended")
        r.sql(f"RESUME '{id}'")
        r.wait_done(id)
        equal([x.replace(",w,o", "") for x in picture()], [before[0].replace(f"{t}_c_v_idx n space_a", f"{t}_c_v_idx n space_b")] + before[1:], by)
        r.sql(f"DROP PUBLICATION {t}_root; DROP PUBLICATION {t}_leaf")
        r.rebuild(f'ASYNC REBUILD TABLE {t} ADD q int CONSTRAINT "Of {t}" REFERENCES {t}_o')  # in place
        text = f"SELECT string_agg(concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated), ', ' ORDER BY conrelid::regclass::text, conname) " \
               f"FROM pg_constraint WHERE contype = 'f' AND conrelid::regclass::text LIKE '{t}%' AND conparentid = 0"
        equal(r.sql(text), f'{t} Of {t} FOREIGN KEY (q) REFERENCES {t}_o(id) t, {t} {t}_o_fkey FOREIGN KEY (o) REFERENCES {t}_o(id) ON DELETE CASCADE t', "added keys")
        equal(r.sql_error(f"INSERT INTO {t} (id, v, ds, q) VALUES (1000, 'x', 'a', 9)").sqlstate, "23503", "used")
        equal(r.sql(f"DELETE FROM {t}_o WHERE id = 1; SELECT count(*) FROM {t}"), "0", "cascade")
        r.sql(f"ALTER TABLE {t}_b ALTER w SET NOT NULL")
        e = r.sql_error(f"ASYNC REBUILD TABLE {t} SET (fillfactor = 90)")
        equal((e.sqlstate, f'NOT NULL of column "w" is of partition public.{t}_b alone' in str(e)), ("0A000", True), str(e))


def forced_security(r):
    """Row security that is forced on the owner: nobody sees more than before, and no row is lost."""
    r.sql("""CREATE TABLE z (id int PRIMARY KEY, who text, v text); INSERT INTO z SELECT i, CASE i % 3 WHEN 0 THEN 'app' ELSE 'x' END, i FROM generate_series(1, 3000) i;
        CREATE POLICY mine ON z USING (who = current_user); ALTER TABLE z ENABLE ROW LEVEL SECURITY; ALTER TABLE z FORCE ROW LEVEL SECURITY""")
    e = r.sql_error("ASYNC REBUILD TABLE z SET (fillfactor = 90)")
    equal((e.sqlstate, "row security is forced on the owner" in str(e)), ("0A000", True), str(e))
    r.admin("ALTER ROLE service BYPASSRLS; CREATE ROLE z_reader; GRANT SELECT ON z TO z_reader")
    try:
        for action in ("ALTER v TYPE int USING v::int + 1, SET (fillfactor = 90)", "ALTER PRIMARY KEY (id, who), TO PARTITION BY LIST (who)",
                       "ADD w float8 DEFAULT random()"):
            id = r.submit(f"ASYNC REBUILD TABLE z WITH (rebuild_guc_hg_rebuild_slice_mb = 1) {action}")
            r.sql("UPDATE z SET id = id + 10000 WHERE id < 30; DELETE FROM z WHERE id > 9990 AND id < 10010")
            r.admin("UPDATE z SET id = id + 20000 WHERE id BETWEEN 30 AND 50 AND who = 'x'")
            r.wait_done(id)
            equal(r.sql("SELECT count(DISTINCT who) FROM z"), "1", "the owner")
            equal(r.admin("SET ROLE z_reader; SELECT count(*) FROM z"), "0", "others")
            equal(r.admin("SELECT count(*) FROM pg_class WHERE relname LIKE 'rebuild\\_rows%' OR relname LIKE 'tmp\\_rebuild%'"), "0", "left behind")
        equal(r.admin("SELECT count(*) - count(DISTINCT id), count(*) FILTER (WHERE who = 'x'), min(v) FROM z"), "0|2000|2", "rows")
    finally:
        r.admin("ALTER ROLE service NOBYPASSRLS")


def publications(r):
    """What would publish the copy as another table, and what writes to the table from outside."""
    r.sql("CREATE SCHEMA pub; CREATE TABLE pub.t (id int PRIMARY KEY)")
    for text in ("FOR ALL TABLES", "FOR TABLES IN SCHEMA pub"):
        r.admin(f"CREATE PUBLICATION pub_p {text}")
        e = r.sql_error("ASYNC REBUILD TABLE pub.t WITH (binlog_mode) SET (fillfactor = 90)")
        equal((e.sqlstate, 'publication "pub_p" would publish the copy' in str(e)), ("0A000", True), str(e))
        r.admin("DROP PUBLICATION pub_p")
    r.admin("CREATE SUBSCRIPTION pub_s CONNECTION 'dbname=app' PUBLICATION x WITH (connect = false, slot_name = NONE);"
            "INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate) SELECT oid, 'pub.t'::regclass, 'r' FROM pg_subscription")
    e = r.sql_error("ASYNC REBUILD TABLE pub.t SET (fillfactor = 90)")
    equal((e.sqlstate, "a subscription writes to the table" in str(e)), ("0A000", True), str(e))
    r.admin("DROP SUBSCRIPTION pub_s")
    r.rebuild("ASYNC REBUILD TABLE pub.t SET (fillfactor = 90)")


def materialized_views(r):
    """In place they stay, but for a column that changes its type; with a copy those stay that read a view of the table."""
    r.sql("""CREATE TABLE m1 (id int PRIMARY KEY, v varchar(5), n int); INSERT INTO m1 VALUES (1, 'a', 1); CREATE VIEW m1_v AS SELECT id, v FROM m1;
        CREATE MATERIALIZED VIEW m1_direct AS SELECT id, n FROM m1; CREATE MATERIALIZED VIEW m1_above AS SELECT v, count(*) FROM m1_v GROUP BY v; CREATE INDEX ON m1_above (v)""")
    before = oid(r, "m1"), oid(r, "m1_direct"), oid(r, "m1_above")
    r.rebuild("ASYNC REBUILD TABLE m1 ADD x int DEFAULT 1, ALTER v SET NOT NULL")
    equal((oid(r, "m1"), oid(r, "m1_direct"), oid(r, "m1_above")), before, "in place")
    for text in ("SET (fillfactor = 90)", "ALTER n TYPE bigint", "WITH (keep_source) ADD y int"):
        e = r.sql_error(f"ASYNC REBUILD TABLE m1 {text}")
        equal((e.sqlstate, "materialized view public.m1_direct depends on the table" in str(e), "m1_above" in str(e)), ("0A000", True, False), str(e))
    r.sql("CREATE TABLE m2 (id int PRIMARY KEY, v varchar(5)); CREATE MATERIALIZED VIEW m2_m AS SELECT v FROM m2")
    equal(r.sql_error("ASYNC REBUILD TABLE m2 ALTER v TYPE varchar(9)").sqlstate, "0A000", "a type that is changed in place")
    r.sql("DROP MATERIALIZED VIEW m1_direct")
    r.rebuild("ASYNC REBUILD TABLE m1 SET (fillfactor = 90)")
    equal((oid(r, "m1") != before[0], oid(r, "m1_above")), (True, before[2]), "above a view")
    r.sql("INSERT INTO m1 (id, v) VALUES (2, 'a')")
    equal(r.sql("SELECT count FROM m1_above; REFRESH MATERIALIZED VIEW m1_above; SELECT count FROM m1_above"), "1\n2", "read and refreshed")


def in_place_views(r):
    """A type that PostgreSQL changes in its catalog alone, but for a view: the view is made anew, no row is copied."""
    r.sql("""CREATE TABLE u1 (id int PRIMARY KEY, v varchar(5), n int); INSERT INTO u1 VALUES (1, 'a', 1);
        CREATE VIEW u1_v WITH (security_barrier) AS SELECT id, v FROM u1; CREATE VIEW u1_w AS SELECT v || '!' AS w, v FROM u1_v;
        CREATE VIEW u1_other AS SELECT id, n FROM u1; CREATE FUNCTION u1_f() RETURNS bigint RETURN (SELECT count(v) FROM u1_w);
        CREATE FUNCTION u1_row(u u1) RETURNS int LANGUAGE sql AS 'SELECT u.n'; CREATE TABLE u1_log (id int);
        CREATE POLICY p ON u1_log USING (id IN (SELECT id FROM u1_v)); CREATE RULE r AS ON UPDATE TO u1_v DO INSTEAD UPDATE u1 SET v = NEW.v WHERE u1.id = NEW.id;
        COMMENT ON VIEW u1_w IS 'of it'; GRANT SELECT ON u1_w TO PUBLIC""")
    def kept():
        return [oid(r, x) for x in ("u1", "u1_other")] + [oid(r, "u1_f()", "regprocedure"), oid(r, "u1_row(u1)", "regprocedure")]
    before, views = kept(), [describe(r, v) for v in ("u1_v", "u1_w")]
    r.rebuild("ASYNC REBUILD TABLE u1 ALTER v TYPE varchar(50), ADD z int")
    equal(kept(), before, "oids")
    equal([describe(r, v) for v in ("u1_v", "u1_w")], views, "views")
    equal(types(r, "u1_w"), "w text, v character varying(50)", "types")
    r.sql("UPDATE u1_v SET v = repeat('x', 40)")
    equal(r.sql("SELECT length(w), u1_f() FROM u1_w"), "41|1", "used")
    r.sql("CREATE MATERIALIZED VIEW u1_m AS SELECT w FROM u1_w")
    e = r.sql_error("ASYNC REBUILD TABLE u1 ALTER v TYPE varchar(60)")
    equal((e.sqlstate, "materialized view public.u1_m" in str(e)), ("0A000", True), str(e))


TESTS = {"views of changed columns": changed_views, "rules on views": rules_on_views, "refused views": changed_views_refused,
         "BEGIN ATOMIC": bodies, "row types": row_types, "policies and rules of others": others, "sequences": identity_readers,
         "in the way of a type": in_the_way, "new keys": new_keys, "added columns": added_columns, "default privileges": default_privileges, "keys of partitions": keys_of_partitions, "partitions": partition_parts,
         "forced row security": forced_security, "publications": publications, "materialized views": materialized_views, "views in place": in_place_views}
with Rebuild() as r:
    for name, test in TESTS.items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            s.run(name, test, r)
sys.exit(s.finish())
