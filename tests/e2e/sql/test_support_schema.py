"""The support schema alone: psql straight to a private PostgreSQL, no proxy.

Every NAME.sql is run in a database of its own, and what psql prints is compared with NAME.out; task
ids, oids and times are masked. All of it twice: installed by a superuser, and by a service role that
has CREATE on the database and nothing else. The migration script is run twice each time.

    test_support_schema.py [--accept] [NAME...]     --accept writes the .out files
"""
import difflib
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "support"))
import cluster  # noqa: E402

MASKS = [
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{8}fffe\b"), "<task id>"),
    (re.compile(r"\b20[2-9]\d-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[+-]\d\d\b"), "<time>"),
    (re.compile(r"^(DETAIL:  )\d+\.[\w+/=]+\.[0-9a-f]{64}$", re.M), r"\1<sealed message>"),
    (re.compile(r"^LOCATION:.*\n", re.M), ""),
    (re.compile(r"^psql:\S*:\d+: ", re.M), ""),
    (re.compile(r"\bpg_temp_\d+\b"), "pg_temp_<n>"),
]
LATER_WORDS = [ # PostgreSQL 15 and 18
    ("42602: invalid name syntax", '42704: collation "C", b int" for encoding "UTF8" does not exist'),
    ('must be member of role "bob"', 'must be able to SET ROLE "bob"'),
]


def masked(text):
    for pattern, replacement in MASKS:
        text = pattern.sub(replacement, text)
    return text


def prepare(c):
    """Roles, and the template database with the support schema, installed twice."""
    script = migration_script()
    c.direct.sql("".join(f"CREATE ROLE {r} LOGIN PASSWORD '{r}';" for r in ("alice", "bob", "carol", "dora")),
                 user="postgres", dbname="postgres")
    c.direct.sql("GRANT alice, bob TO service", user="postgres", dbname="postgres")
    for _ in range(2):
        c.direct.sql(script, user="service")


def run(c, name, accept):
    c.direct.sql(f"CREATE DATABASE test_{name} TEMPLATE app OWNER app", user="postgres", dbname="postgres")
    done = subprocess.run(["psql", "-X", "-a", "-q", "-v", "VERBOSITY=verbose", "-v", "SHOW_CONTEXT=never"],
                          stdin=open(HERE / f"{name}.sql"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, cwd=HERE, timeout=120, env=c.direct.env("postgres", f"test_{name}"))
    got = masked(done.stdout)
    out = HERE / f"{name}.out"
    if accept:
        out.write_text(got)
    want = out.read_text() if out.exists() else ""
    for old, new in LATER_WORDS if c.postgres.version == 18 else []:
        want = want.replace(old, new)
    if got != want:
        raise AssertionError("".join(difflib.unified_diff(want.splitlines(True), got.splitlines(True),
                                                          f"{name}.out", "got")))


class Session:
    """A psql that stays, so that two transactions can meet. Its application name finds it again."""

    def __init__(self, c, dbname, name):
        self.c, self.name, self.output = c, name, open(c.folder / f"{dbname}.{name}", "w+")
        env = {**c.direct.env("postgres", dbname), "PGAPPNAME": name}
        self.psql = subprocess.Popen(["psql", "-X", "-Atq", "-v", "VERBOSITY=verbose"], stdin=subprocess.PIPE,
                                     stdout=self.output, stderr=subprocess.STDOUT, text=True, env=env)

    def send(self, text):
        self.psql.stdin.write(text + "\n")
        self.psql.stdin.flush()

    def wait(self, condition):
        """Until its server process is as the condition on pg_stat_activity says."""
        cluster.wait_until(lambda: self.c.direct.sql(
            f"SELECT 1 FROM pg_stat_activity WHERE application_name = '{self.name}' AND {condition}",
            user="postgres", dbname="postgres"), f"{self.name}: {condition}")

    def finish(self):
        self.psql.communicate(timeout=cluster.TIMEOUT_S)
        self.output.seek(0)
        return masked(self.output.read())


def two_sessions(c, dbname, role, statement):
    """Both run it at the same time, the first commits: what the second one says."""
    first, second = (Session(c, dbname, f"{dbname}_{n}") for n in (1, 2))
    for s in (first, second):
        s.send(f"SET ROLE {role}; BEGIN;")
    first.send(statement)
    first.wait("state = 'idle in transaction' AND query LIKE 'SELECT%'")
    second.send(statement)
    second.wait("wait_event_type = 'Lock'")
    first.send("COMMIT;")
    first.finish()
    return second.finish()


def check_concurrency(c):
    db = "test_concurrency"
    c.direct.sql(f"CREATE DATABASE {db} TEMPLATE app OWNER app", user="postgres", dbname="postgres")
    said = two_sessions(c, db, "app", "SELECT pgveneer.create_hudi_sync_table();")
    assert '42P07: relation "hudi.hudi_sync_state" already exists' in said, said
    c.direct.sql("DROP TABLE hudi.hudi_sync_state", user="postgres", dbname=db)
    c.direct.psql("-f", HERE / "common.psql", user="postgres", dbname=db, check=True)
    said = two_sessions(c, db, "alice", "SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1');")
    assert '42710: table "public.in_rel" is already synchronized by task "<task id>"' in said, said
    assert c.direct.sql("SELECT count(*) FROM pgveneer.task", user="postgres", dbname=db) == "1"


def check_uninstall(c):
    """Views of users go with the schemas, their tables and a schema of theirs stay; and it can be installed again."""
    db = "test_uninstall"
    c.direct.sql(f"CREATE DATABASE {db} TEMPLATE app OWNER app", user="postgres", dbname="postgres")
    c.direct.psql("-f", HERE / "common.psql", user="postgres", dbname=db, check=True)
    c.direct.sql("CREATE SCHEMA theirs; GRANT ALL ON SCHEMA theirs TO service", dbname=db)
    for _ in range(2):
        c.direct.sql(migration_script("--uninstall"), user="service", dbname=db)
    left = c.direct.sql("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                        " AND relkind IN ('r', 'v')", dbname=db)
    cluster.equal(left, "in_rel")
    left = c.direct.sql("SELECT string_agg(nspname, ' ' ORDER BY nspname) FROM pg_namespace"
                        " WHERE nspname !~ '^pg_|^information'", dbname=db)
    cluster.equal(left, "public theirs")
    c.direct.sql(migration_script(), user="service", dbname=db)


def check_service_membership(c):
    """A task whose runs could not write is refused at submit."""
    db = "test_membership"
    c.direct.sql(f"CREATE DATABASE {db} TEMPLATE app OWNER app; REVOKE alice FROM service",
                 user="postgres", dbname="postgres")
    c.direct.psql("-f", HERE / "common.psql", user="postgres", dbname=db, check=True)
    submit = "SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1')"
    if c.superuser_service:
        c.direct.sql(submit, user="alice", dbname=db)
    else:
        error = c.direct.sql_error(submit, user="alice", dbname=db)
        cluster.equal(error.sqlstate, "42501")
        assert "GRANT alice TO service" in str(error), error
    c.direct.sql("GRANT alice TO service", user="postgres", dbname="postgres")


def check_dump(c):
    """A restored database knows its foreign tables and positions again, though all oids are new. Its
    tasks name oids that are gone: they must not find a foreign table, and can be submitted again."""
    db = "test_dump"
    c.direct.sql(f"CREATE DATABASE {db} TEMPLATE app OWNER app; CREATE DATABASE test_restored OWNER app",
                 user="postgres", dbname="postgres")
    c.direct.psql("-f", HERE / "common.psql", user="postgres", dbname=db, check=True)
    c.direct.sql("SELECT pgveneer.hudi_set_sync_commit('in_rel', 'hudi_read1', '20220913152131');"
                 "SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1')", user="alice", dbname=db)
    dump = subprocess.run(["pg_dump"], check=True, text=True, capture_output=True,
                          env=c.direct.env("postgres", db)).stdout
    # other oids than in the dumped database
    c.direct.sql("CREATE TABLE other (a int); DROP TABLE other", user="postgres", dbname="test_restored")
    c.direct.psql("-v", "ON_ERROR_STOP=1", stdin=dump, user="postgres", dbname="test_restored", check=True)

    def sql(text):
        return c.direct.sql(text, user="alice", dbname="test_restored")
    cluster.equal(sql("SELECT pgveneer.is_hudi_foreign_table('{hudi_read1}')"), "t")
    cluster.equal(sql("SELECT target_tbl, source_ftbl, latest_commit FROM pgveneer.hudi_show_sync_state()"
                      " WHERE latest_commit IS NOT NULL"), "public.in_rel|public.hudi_read1|20220913152131")
    cluster.equal(sql("SELECT count(*) FROM pgveneer.task t JOIN pgveneer.foreign_table f"
                      " ON f.relid = (t.params ->> 'ftable_oid')::oid"), "0")
    sql("SELECT pgveneer.pg_task_remove(task_id) FROM pgveneer.pg_task_show('SQLonHudi')")
    sql("SELECT pgveneer.hudi_sync_task_submit('in_rel', 'hudi_read1')")
    without = subprocess.run(["pg_dump", "-N", "pgveneer", "-N", "hudi", "-N", "hologres"], text=True, capture_output=True,
                             env=c.direct.env("app", "app"))
    cluster.equal((without.returncode, without.stderr), (0, ""))


def check_foreign_owner(c):
    """Whoever owned the schema could plant functions in it."""
    db = "test_foreign_owner"
    c.direct.sql(f"CREATE DATABASE {db} OWNER app; GRANT CREATE ON DATABASE {db} TO service, bob",
                 user="postgres", dbname="postgres")
    c.direct.sql("CREATE SCHEMA pgveneer", user="bob", dbname=db)
    cluster.equal(c.direct.sql_error(migration_script(), user="service", dbname=db).sqlstate, "42501")


def migration_script(*args):
    return subprocess.run([cluster.build_dir() / "print_migrations", *args], check=True, text=True,
                          capture_output=True).stdout


def main():
    accept = "--accept" in sys.argv[1:]
    names = [a for a in sys.argv[1:] if not a.startswith("-")] or sorted(p.stem for p in HERE.glob("*.sql"))
    failed = 0
    for superuser in (False, True):
        s = cluster.Scenarios("sql, service a superuser" if superuser else "sql")
        with cluster.Cluster(superuser_service=superuser) as c:
            prepare(c)
            for name in names:
                s.run(name, run, c, name, accept and not superuser)
            s.run("two sessions at the same time", check_concurrency, c)
            s.run("uninstall", check_uninstall, c)
            if c.postgres.version != 18:  # there is no pg_dump of that version
                s.run("dump and restore", check_dump, c)
            s.run("service role and owner of the target", check_service_membership, c)
            s.run("schema of another role", check_foreign_owner, c)
        failed += s.finish()
    return failed


sys.exit(main())
