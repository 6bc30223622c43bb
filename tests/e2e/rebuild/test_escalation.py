"""Text of users in a rebuild never gains rights: every place where the owner of a table can put an expression calls a
function that tries to become somebody else, now and at COMMIT, and to plant a search_path for what we do afterwards.
The service login could become `vip`; the table belongs to `app`."""
import sys

from cluster import Scenarios, equal
from rebuild import Rebuild

s = Scenarios("escalation")

SETUP = """
CREATE TABLE proof (place text, who text, session text, what text, outcome text);
CREATE TABLE bait (a int);
CREATE SCHEMA evil;
CREATE FUNCTION attack(place text, value text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE what text;
BEGIN
    FOREACH what IN ARRAY ARRAY[
        'SELECT set_config(''role'', ''vip'', false)', 'SELECT set_config(''role'', ''none'', false)',
        'SELECT set_config(''session_authorization'', ''service'', false)', 'SET ROLE vip', 'RESET ROLE',
        'SET SESSION AUTHORIZATION DEFAULT', 'SELECT * FROM secret', 'INSERT INTO secret VALUES (2)',
        'DECLARE c CURSOR WITH HOLD FOR SELECT attack_late()', 'SET CONSTRAINTS ALL DEFERRED; INSERT INTO bait VALUES (1)',
        'CREATE TEMPORARY TABLE pg_temp_bait (a int)', 'UPDATE pgveneer.task SET owner = 10',
        'DELETE FROM hologres.rebuild_slice', 'SELECT pg_advisory_unlock_all()',
        'SELECT set_config(''search_path'', ''evil, pg_catalog'', false)',
        'SELECT set_config(''lock_timeout'', ''1h'', false)'] LOOP
        CONTINUE WHEN place LIKE '%trigger%' AND what LIKE '%bait%';
        BEGIN
            EXECUTE what;
            INSERT INTO public.proof VALUES (place, current_user, session_user, what, 'done');
        EXCEPTION WHEN OTHERS THEN
            INSERT INTO public.proof VALUES (place, current_user, session_user, what, SQLSTATE);
        END;
    END LOOP;
    RETURN value;
END $$;
CREATE FUNCTION attack_fixed(place text, value text) RETURNS text LANGUAGE plpgsql IMMUTABLE
    AS $$ BEGIN RETURN public.attack_quiet(place, value); END $$;
CREATE FUNCTION attack_quiet(place text, value text) RETURNS text LANGUAGE plpgsql VOLATILE
    AS $$ BEGIN RETURN public.attack(place, value); EXCEPTION WHEN OTHERS THEN RETURN value; END $$;
CREATE FUNCTION attack_late() RETURNS text LANGUAGE plpgsql
    AS $$ BEGIN RETURN public.attack('at commit', 'x'); END $$;
CREATE FUNCTION attack_row() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN PERFORM public.attack(TG_ARGV[0], 'x'); RETURN NEW; END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON bait DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION attack_row('deferred trigger');
-- names of ours and of PostgreSQL's, planted in the schemas that a search_path could lead to
CREATE FUNCTION evil.count(anyelement) RETURNS bigint LANGUAGE plpgsql
    AS $$ BEGIN INSERT INTO public.proof VALUES ('planted', current_user, session_user, 'count', 'done'); RETURN 0; END $$;
CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql
    AS $$ BEGIN INSERT INTO public.proof VALUES ('planted', current_user, session_user, 'now', 'done'); RETURN NULL; END $$;
CREATE FUNCTION evil.same(text, text) RETURNS bool LANGUAGE plpgsql
    AS $$ BEGIN INSERT INTO public.proof VALUES ('planted', current_user, session_user, '=', 'done'); RETURN true; END $$;
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same);
CREATE DOMAIN trap AS text CHECK (attack_quiet('domain', VALUE) IS NOT NULL);
GRANT ALL ON proof, bait TO PUBLIC;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
"""

PLACES = {
    "USING": ("id int PRIMARY KEY, v text", "", "ALTER v TYPE varchar USING attack('USING', v)"),
    "default": ("id int PRIMARY KEY, v text", "", "ADD w text DEFAULT attack('default', 'x')"),
    "check": ("id int PRIMARY KEY, v text CHECK (attack_quiet('check', v) IS NOT NULL)", "",
              "ADD w text DEFAULT random()::text"),
    "domain": ("id int PRIMARY KEY, v trap", "", "ADD w text DEFAULT random()::text"),
    "domain of a new column": ("id int PRIMARY KEY, v text", "", "ALTER v TYPE trap"),
    "generated": ("id int PRIMARY KEY, v text, g text GENERATED ALWAYS AS (attack_fixed('generated', v)) STORED", "",
                  "ADD w text DEFAULT random()::text"),
    "index": ("id int PRIMARY KEY, v text", "CREATE INDEX ON {t} (attack_fixed('index', v)) WHERE attack_fixed('predicate', v) <> ''",
              "SET (fillfactor = 90)"),
    "statistics": ("id int PRIMARY KEY, v text", "CREATE STATISTICS {t}_s ON attack_fixed('statistics', v), v FROM {t}",
                   "SET (fillfactor = 90)"),
    "triggers": ("id int PRIMARY KEY, v text",
                 "CREATE TRIGGER a BEFORE INSERT OR UPDATE ON {t} FOR EACH ROW EXECUTE FUNCTION attack_row('trigger');"
                 "CREATE CONSTRAINT TRIGGER b AFTER INSERT OR UPDATE ON {t} DEFERRABLE INITIALLY DEFERRED "
                 "FOR EACH ROW EXECUTE FUNCTION attack_row('constraint trigger')", "SET (fillfactor = 90)"),
    "view, rule and policy": ("id int PRIMARY KEY, v text",
                              "CREATE VIEW {t}_v AS SELECT id, attack('view', v) AS v FROM {t};"
                              "CREATE RULE r AS ON DELETE TO {t} DO ALSO SELECT attack('rule', 'x');"
                              "ALTER TABLE {t} ENABLE ROW LEVEL SECURITY;"
                              "CREATE POLICY p ON {t} USING (attack('policy', v) IS NOT NULL)", "SET (fillfactor = 90)"),
    # dropped and made anew, or written again: nothing of it may run, and all of it is its owner's
    "made anew": ("id int PRIMARY KEY, v text",
                  "CREATE FUNCTION {t}_f(r {t}, more text DEFAULT attack('argument', 'x')) RETURNS text IMMUTABLE LANGUAGE sql "
                  "RETURN attack_fixed('row function', (r).v);"
                  "CREATE FUNCTION {t}_b(more text DEFAULT attack('argument', 'x')) RETURNS SETOF text BEGIN ATOMIC "
                  "SELECT attack('body', v) FROM {t}; END;"
                  "CREATE VIEW {t}_v AS SELECT id, v, attack('new view', v) AS w, {t}_f({t}) AS f FROM {t};"
                  "CREATE VIEW {t}_w AS SELECT attack('view above', v), {t}_b('x') FROM {t}_v;"
                  "ALTER VIEW {t}_v ALTER COLUMN v SET DEFAULT attack('view default', 'x');"
                  "CREATE TRIGGER g INSTEAD OF INSERT ON {t}_v FOR EACH ROW EXECUTE FUNCTION attack_row('trigger');"
                  "CREATE RULE r AS ON DELETE TO {t}_v DO INSTEAD SELECT attack('rule', OLD.v);"
                  "CREATE TABLE {t}_o (id int); CREATE RULE r AS ON INSERT TO {t}_o DO ALSO UPDATE {t} SET v = attack('rule', v);"
                  "CREATE POLICY p ON {t}_o USING (EXISTS (SELECT attack('policy', v) FROM {t}))", "ALTER v TYPE varchar(9) USING v"),
    "foreign key": ("id int PRIMARY KEY, v text, d trap DEFAULT 'x'",
                    "SET search_path = public; CREATE TABLE {t}_o (d trap PRIMARY KEY, x text CHECK (attack_quiet('check', x) IS NOT NULL)); INSERT INTO {t}_o VALUES ('v0', 'x'), ('x', 'x'); SET search_path = public;"
                    "CREATE CONSTRAINT TRIGGER b AFTER UPDATE ON {t}_o DEFERRABLE INITIALLY DEFERRED "
                    "FOR EACH ROW EXECUTE FUNCTION attack_row('constraint trigger')",
                    "ADD w trap DEFAULT attack_fixed('default', 'x') REFERENCES {t}_o ON DELETE CASCADE, ALTER id TYPE bigint"),
    "partition key": ("id int, v text", "", "ALTER v TYPE text USING attack('partition key', v), TO PARTITION BY LIST (v)"),
    "in place": ("id int PRIMARY KEY, v text", "", "ADD w trap DEFAULT attack_fixed('in place', 'x'), ALTER v SET DEFAULT attack('x', 'y')"),
    "clause": ("id int PRIMARY KEY, v text", "", "ADD w text CHECK (attack_quiet('clause', w) IS NOT NULL) DEFAULT 'x'"),
}


def try_place(r, number, name):
    columns, more, action = PLACES[name]
    t = f"e{number}"
    r.sql(f"CREATE TABLE {t} ({columns}); INSERT INTO {t} (id, v) SELECT i, 'v' || i % 2 FROM generate_series(1, 6) i;"
          + more.format(t=t))
    r.sql("TRUNCATE proof, bait")
    id = r.submit(f"SET search_path = evil, public, pg_catalog; ASYNC REBUILD TABLE {t} {action.format(t=t)}")
    r.wait_done(id)
    return r.sql("SELECT count(*) FROM proof WHERE session = 'service'")


with Rebuild() as r:
    r.admin("CREATE ROLE vip; CREATE TABLE secret (a int); ALTER TABLE secret OWNER TO vip; INSERT INTO secret VALUES (1);"
            "GRANT vip TO service")
    r.sql(SETUP)
    ran = 0
    for number, name in enumerate(PLACES):
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        def check():
            global ran
            seen = int(try_place(r, number, name))
            equal(r.admin("SELECT string_agg(DISTINCT who, ' ') FROM proof WHERE who <> 'app'"), "", "other roles")
            equal(r.admin("SELECT string_agg(DISTINCT what || ' as ' || who, '; ') FROM proof WHERE outcome = 'done' AND session = 'service' AND "
                          "what ~ 'role|ROLE|session|SESSION|secret|CURSOR|DEFERRED|TEMP|pgveneer|hologres'"), "", "attempts that worked")
            equal(r.admin("SELECT string_agg(place, ' ') FROM proof WHERE place IN ('at commit', 'deferred trigger') AND session = 'service'"), "", "at commit")
            equal(r.admin("SELECT string_agg(a::text, ' ') FROM secret"), "1", "secret")
            ran += seen
        s.run(name, check)
    if not sys.argv[1:]:
        s.run("the attacks ran in the job", lambda: equal(ran > 100, True, f"{ran} attempts"))
sys.exit(s.finish())
