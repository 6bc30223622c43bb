"""What a user attached to a target (triggers, defaults, checks, domains, generated columns, deferred
work, settings) runs with the rights of the target's owner and no more, though the service login is a
superuser here. Each piece of user text notes who it runs as, tries to become somebody else by all ways
that PostgreSQL has, and tries to leave something behind that runs later, at COMMIT."""
import sys

from cluster import Scenarios, equal
from hudi_sync import Hudi

ATTACK = """
CREATE TABLE public.seen (place text, as_user text);
CREATE TABLE public.escaped (place text, how text, as_user text);
CREATE FUNCTION public.attack(place text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE how text;
BEGIN
    INSERT INTO public.seen VALUES (place, current_user);
    IF current_user <> 'app' THEN
        INSERT INTO public.escaped VALUES (place, 'at once', current_user);
    END IF;
    FOREACH how IN ARRAY ARRAY[
        $q$SET ROLE service$q$, $q$RESET ROLE$q$, $q$SET SESSION AUTHORIZATION service$q$,
        $q$RESET SESSION AUTHORIZATION$q$, $q$SELECT set_config('role', 'none', false)$q$,
        $q$SELECT set_config('role', 'none', true)$q$,
        $q$SELECT set_config('session_authorization', 'service', false)$q$, $q$DISCARD ALL$q$,
        $q$DECLARE later CURSOR WITH HOLD FOR SELECT public.attack('cursor at commit')$q$,
        $q$ALTER FUNCTION pg_temp.pgveneer_write() SECURITY INVOKER$q$,
        $q$SET CONSTRAINTS ALL DEFERRED; INSERT INTO public.bait VALUES (1)$q$,
        $q$CREATE TEMPORARY TABLE pg_temp.trap (x int)$q$] LOOP
        IF place = 'deferred' AND how LIKE '%bait%' THEN
            CONTINUE;
        END IF;
        BEGIN
            EXECUTE how;
            IF current_user <> 'app' THEN
                INSERT INTO public.escaped VALUES (place, how, current_user);
            END IF;
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    PERFORM set_config('search_path', 'evil', false), set_config('row_security', 'on', false),
            set_config('standard_conforming_strings', 'off', false);
    RETURN true;
END $$;
CREATE FUNCTION public.fires() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN PERFORM public.attack(TG_ARGV[0]); RETURN coalesce(NEW, OLD); END$$;
CREATE TABLE public.bait (x int);
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON public.bait DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.fires('deferred');
-- what a planted search_path would find
CREATE SCHEMA evil;
CREATE FUNCTION evil.to_regclass(text) RETURNS regclass LANGUAGE plpgsql AS
    $$BEGIN PERFORM public.attack('planted function'); RETURN NULL; END$$;
CREATE FUNCTION evil.same(text, text) RETURNS boolean LANGUAGE plpgsql AS
    $$BEGIN RETURN public.attack('planted operator'); END$$;
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same);
CREATE TABLE evil.task (task_id text); CREATE TABLE evil.hudi_sync_state (latest_commit text);
ALTER DATABASE app SET search_path = evil, public;
"""

TARGET = """
CREATE FUNCTION public.derive(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
    $$BEGIN PERFORM public.attack('generated'); RETURN $1; END$$;
CREATE FUNCTION public.fill() RETURNS text LANGUAGE plpgsql AS
    $$BEGIN PERFORM public.attack('default'); RETURN 'filled'; END$$;
CREATE DOMAIN public.word AS text CHECK (public.attack('domain'));
CREATE TABLE public.target (id integer PRIMARY KEY, v public.word, ts bigint,
    d text DEFAULT public.fill(), CHECK (public.attack('check')));
CREATE TRIGGER b BEFORE INSERT OR UPDATE OR DELETE ON public.target FOR EACH ROW EXECUTE FUNCTION public.fires('before');
CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON public.target FOR EACH ROW EXECUTE FUNCTION public.fires('after');
CREATE TRIGGER s AFTER INSERT OR UPDATE OR DELETE ON public.target FOR EACH STATEMENT EXECUTE FUNCTION public.fires('statement');
CREATE CONSTRAINT TRIGGER c AFTER INSERT OR UPDATE ON public.target DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.fires('deferred');
"""
COLUMNS = [("id", "integer"), ("v", "text"), ("ts", "bigint")]


def rows(first, last, tag):
    return f"SELECT i::INTEGER AS id, '{tag}' || i AS v, i::BIGINT AS ts FROM range({first}, {last}) t(i)"


def outcome(h, want):
    equal(h.sql("SELECT * FROM public.escaped"), "", "escaped")
    equal(h.sql("SELECT DISTINCT as_user FROM public.seen"), "app", "users")
    equal(h.sql("SELECT DISTINCT place FROM public.seen ORDER BY 1").split("\n"), want, "places")
    h.sql("TRUNCATE public.seen")


def main():
    s = Scenarios("escalation")
    with Hudi(superuser_service=True) as h:
        h.writer("create", "t", "--key", "id", "--ordering", "ts", "--sql", rows(0, 3, "a"))
        h.foreign_table("ft", "t", COLUMNS)
        h.sql(ATTACK)
        h.sql(TARGET)
        task = h.submit("public.target", "public.ft", "id, v, ts", "id, v, ts")
        h.sql("TRUNCATE public.seen, public.escaped")

        @s.scenario("a first run is not a direct load")
        def _():
            h.run_well(task)
            outcome(h, ["after", "before", "check", "default", "deferred", "domain", "statement"])
            equal(h.sql("SELECT id, v, d FROM public.target ORDER BY 1"), "0|a0|filled\n1|a1|filled\n2|a2|filled")

        @s.scenario("upserts and deletes")
        def _():
            h.writer("upsert", "t", "--sql", rows(2, 4, "b"))
            h.writer("delete", "t", "--keys-sql", "SELECT 0::INTEGER AS id")
            h.run_well(task)
            outcome(h, ["after", "before", "check", "default", "deferred", "domain", "statement"])
            equal(h.sql("SELECT id, v FROM public.target ORDER BY 1"), "1|a1\n2|b2\n3|b3")
            equal(h.history(task), [3, 3])

        @s.scenario("columns computed by a user's function")
        def _():
            h.sql("CREATE TABLE public.computed (id integer PRIMARY KEY, v text, ts bigint, "
                  "g text GENERATED ALWAYS AS (public.derive(v)) STORED)")
            h.run_well(h.submit("public.computed", "public.ft", "id, v, ts", "id, v, ts"))
            equal(h.sql("SELECT * FROM public.escaped"), "", "escaped")
            equal(h.sql("SELECT count(g) FROM public.computed"), "3")
            h.sql("TRUNCATE public.seen")

        @s.scenario("a domain alone, a default alone, an index expression: no direct load either")
        def _():
            for n, definition in enumerate((
                    "id integer PRIMARY KEY, v public.word, ts bigint",
                    "id integer PRIMARY KEY, v text, ts bigint, d text DEFAULT public.fill()",
                    "id integer PRIMARY KEY, v text, ts bigint, CHECK (set_config('role', 'none', false) <> 'x')")):
                h.sql(f"CREATE TABLE public.d{n} ({definition})")
                t = h.submit(f"public.d{n}", "public.ft", "id, v, ts", "id, v, ts")
                h.run(t)
                state = h.outcome(t)
                if n < 2:
                    equal(state[:2], ("active", 0), state[2])
                elif "role" not in state[2]:
                    raise AssertionError(f"set_config('role') in a check was not refused: {state}")
                equal(h.sql("SELECT * FROM public.escaped"), "", "escaped")

        @s.scenario("foreign keys, partitions and deferrable constraints work")
        def _():
            h.sql("""CREATE TABLE public.parent (id integer PRIMARY KEY);
                INSERT INTO public.parent SELECT generate_series(0, 10);
                CREATE TABLE public.child (id integer PRIMARY KEY REFERENCES public.parent
                    DEFERRABLE INITIALLY DEFERRED, v text, ts bigint);
                CREATE TABLE public.parts (id integer PRIMARY KEY, v text, ts bigint) PARTITION BY RANGE (id);
                CREATE TABLE public.part1 PARTITION OF public.parts FOR VALUES FROM (0) TO (2);
                CREATE TABLE public.part2 PARTITION OF public.parts FOR VALUES FROM (2) TO (100)""")
            for name in ("child", "parts"):
                h.run_well(h.submit(f"public.{name}", "public.ft"))
                equal(h.sql(f"SELECT id, v FROM public.{name} ORDER BY 1"), "1|a1\n2|b2\n3|b3", name)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
