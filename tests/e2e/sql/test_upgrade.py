"""The support schema of each release, with a user's data, becomes what a new database has; rebuilds that it had
under way end. And what the script does with revisions: a file that changed, a database that is newer."""
import pathlib
import subprocess
import sys

import releases
from cluster import Cluster, Scenarios, build_dir, equal, wait_until

HERE = pathlib.Path(__file__).resolve().parent
SCHEMAS = "'pgveneer', 'hudi', 'hologres', 'pgveneer_greenplum'"

# Everything that the scripts make, one line each; only the order of a table's columns may differ.
CATALOG = rf"""
WITH spaces AS (SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname IN ({SCHEMAS})),
     ours AS (SELECT c.*, nspname || '.' || relname AS name FROM pg_class c JOIN spaces n ON n.oid = relnamespace),
     rights AS (
    SELECT 'schema ' || nspname AS what, coalesce(nspacl, acldefault('n', nspowner)) AS acl FROM spaces
    UNION ALL SELECT 'function ' || p.oid::regprocedure, coalesce(proacl, acldefault('f', proowner))
      FROM pg_proc p JOIN spaces n ON n.oid = pronamespace
    UNION ALL SELECT 'relation ' || name, coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
      FROM ours
    UNION ALL SELECT 'column ' || name || '.' || attname, attacl FROM ours JOIN pg_attribute ON attrelid = ours.oid)
SELECT concat_ws(' | ', 'schema', nspname, nspowner::regrole) FROM spaces
UNION ALL SELECT concat_ws(' | ', 'function', proowner::regrole, pg_get_functiondef(p.oid))
  FROM pg_proc p JOIN spaces n ON n.oid = pronamespace
UNION ALL SELECT concat_ws(' | ', 'relation', name, relkind, relpersistence, relrowsecurity, relforcerowsecurity,
                           reloptions, relowner::regrole, CASE relkind WHEN 'v' THEN pg_get_viewdef(oid) END) FROM ours
UNION ALL SELECT concat_ws(' | ', 'column', name, attname, format_type(atttypid, atttypmod), attnotnull, attidentity,
                           attgenerated, pg_get_expr(adbin, adrelid))
  FROM ours JOIN pg_attribute a ON attrelid = ours.oid AND attnum > 0 AND NOT attisdropped
  LEFT JOIN pg_attrdef d ON adrelid = attrelid AND adnum = attnum
UNION ALL SELECT concat_ws(' | ', 'constraint', name, conname, convalidated, pg_get_constraintdef(k.oid))
  FROM ours JOIN pg_constraint k ON conrelid = ours.oid
UNION ALL SELECT concat_ws(' | ', 'index', indisvalid, pg_get_indexdef(indexrelid)) FROM ours JOIN pg_index ON indrelid = ours.oid
UNION ALL SELECT concat_ws(' | ', 'policy', name, polname, polcmd, polpermissive, polroles::regrole[],
                           pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
  FROM ours JOIN pg_policy ON polrelid = ours.oid
UNION ALL SELECT concat_ws(' | ', 'trigger', tgenabled, pg_get_triggerdef(t.oid))
  FROM ours JOIN pg_trigger t ON tgrelid = ours.oid WHERE NOT tgisinternal
UNION ALL SELECT concat_ws(' | ', 'right', what, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
                           grantor::regrole, privilege_type, is_grantable) FROM rights, aclexplode(acl)
UNION ALL SELECT concat_ws(' | ', 'property', k) FROM hologres.known_property k"""


def upgrade(c, dbname):
    done = subprocess.run([build_dir() / "pgveneer", "install", "--dbname", dbname, "--set",
                           f"service={c.proxy_settings()['service']}"], text=True, capture_output=True)
    equal(done.returncode, 0, done.stdout + done.stderr)


def create(c, dbname):
    c.direct.sql(f"CREATE DATABASE {dbname} OWNER app; GRANT CREATE ON DATABASE {dbname} TO service",
                 user="postgres", dbname="postgres")


def catalog(c, dbname):
    lines = f"SELECT replace(line, E'\\n', ' / ') FROM ({CATALOG}) AS c (line)"
    return set(c.direct.sql(lines, user="postgres", dbname=dbname).split("\n"))


def recorded(c, dbname):
    return set(c.direct.sql("SELECT feature, name, checksum, revision FROM pgveneer.migration",
                            user="postgres", dbname=dbname).split("\n"))


def same_catalog(c, release):
    create(c, f"old_{release}")
    releases.install(c, release, f"old_{release}")
    for _ in range(2):
        upgrade(c, f"old_{release}")
        old, new = catalog(c, f"old_{release}"), catalog(c, "fresh")
        equal((sorted(old - new), sorted(new - old)), ([], []), "lines only in the upgraded, only in the new database")
    missing = recorded(c, "fresh") - recorded(c, f"old_{release}")
    equal(missing, set(), "records")


class Old:
    """Database app with a release's schema: its functions are called as its job would."""

    def __init__(self, c, release):
        self.c, self.release = c, release
        releases.install(c, release, "app")

    def service(self, text):
        return self.c.direct.sql(text, user="service")

    def submit(self, table, action):
        arguments = f"ARRAY['{table}'], false, '[]', '[{action}]', 'ASYNC REBUILD TABLE {table}'"
        call = f"CALL hologres.rebuild_submit({arguments}, NULL)" if self.release == "b5608e3" \
            else f"SELECT hologres.rebuild_submit({arguments})"
        id = self.c.direct.sql(call)
        self.c.direct.sql(f"CALL hologres.rebuild_suspend('{id}')")
        return id

    def begin_copy(self, id):
        """Up to the first slice."""
        body = "SELECT 'DO ' || quote_literal('DECLARE tmp_rebuild_v jsonb; BEGIN ' || hologres.{} || ' END') AS body \\gset"
        each = "SELECT s FROM hologres.{} s \\gexec"
        self.service("\n".join([
            "BEGIN; CREATE TEMP TABLE rebuild_out (value jsonb); GRANT INSERT ON rebuild_out TO app;",
            body.format(f"create_copy_body('{id}')"), "SET ROLE app; :body; RESET ROLE;",
            f"SELECT hologres.take_copy('{id}', value) FROM rebuild_out;",
            each.format(f"log_statements('{id}')"), each.format(f"capture_statements('{id}')"),
            f"SELECT hologres.cut_slices('{id}');",
            body.format(f"slice_body('{id}', 1)"), "SET ROLE app; :body; RESET ROLE;",
            f"UPDATE hologres.rebuild_slice SET done = true WHERE query_id = '{id}' AND slice = 1;"
            f"UPDATE hologres.rebuild SET strategy = 'copy' WHERE query_id = '{id}';"
            f"UPDATE hologres.rebuild_step SET status = 'done', progress = '1/1' WHERE query_id = '{id}' AND step_id <= 3;",
            "COMMIT;"]))


def use(c, release):
    """A user's tables before, an upgrade, and what became of them."""
    old = Old(c, release)
    sql = c.direct.sql
    for table in "done", "waits", "copied":
        sql(f"CREATE TABLE t_{table} (a int PRIMARY KEY, b int); INSERT INTO t_{table} SELECT n, n FROM generate_series(1, 1000) n")
    sql("CALL hologres.set_table_property('t_waits', 'table_group', 'mine');"
        "CALL hologres.set_table_property('t_waits', 'bitmap_columns', 'b')")
    properties = sql("SELECT * FROM hologres.hg_table_properties ORDER BY property_key")
    assert "bitmap_columns" in properties, properties
    widened = '{{"do": "type", "column": "b", "type": "{}"}}'
    ids = {t: old.submit(f"t_{t}", widened.format("bigint")) for t in ("done", "waits", "copied")}
    old.service(f"UPDATE pgveneer.task SET state = 'done' WHERE task_id = '{ids['done']}'")
    old.begin_copy(ids["copied"])
    sql("UPDATE t_copied SET b = 0 WHERE a = 1; DELETE FROM t_copied WHERE a = 2; INSERT INTO t_copied VALUES (0, 7)")
    want = sql("SELECT * FROM t_copied ORDER BY a")
    tasks = "SELECT task_id, state, owner, params, created_at FROM pgveneer.task ORDER BY task_id"
    steps = "SELECT query_id, step_id, step, status, progress FROM hologres.rebuild_step ORDER BY query_id, step_id"
    before = old.service(tasks), old.service(steps)

    upgrade(c, "app")
    equal((old.service(tasks), old.service(steps)), before, "tasks and steps")
    equal(sql("SELECT * FROM hologres.hg_table_properties ORDER BY property_key"), properties)
    c.start_proxy()
    for table in "waits", "copied":
        c.proxy.sql(f"RESUME '{ids[table]}'")
        wait_until(lambda: old.service(f"SELECT state FROM pgveneer.task WHERE task_id = '{ids[table]}'") == "done",
                   f"the rebuild of t_{table} ends")
        equal(sql(f"SELECT pg_typeof(b) FROM t_{table} LIMIT 1"), "bigint")
    equal(sql("SELECT * FROM t_copied ORDER BY a"), want)
    equal(sql("SELECT count(*), sum(b) FROM t_waits"), "1000|500500")
    equal(sql("SELECT pg_typeof(b) FROM t_done LIMIT 1"), "integer", "a task that was done before")
    equal(sql("SELECT relname FROM pg_class WHERE relname LIKE 'tmp_rebuild%' OR relname LIKE 'rebuild_log%'"), "")


def refused(c):
    """A file of the same revision with another text, and nothing of the script stays."""
    create(c, "changed")
    upgrade(c, "changed")
    c.direct.sql("UPDATE pgveneer.migration SET checksum = 'another' WHERE name = '011_hudi_statistics';"
                 "DELETE FROM pgveneer.migration WHERE name = '008_rebuild_settings'; DROP FUNCTION hologres.allowed_settings",
                 user="service", dbname="changed")
    before = catalog(c, "changed")
    error = c.direct.sql_error(script(), user="service", dbname="changed")
    equal(error.sqlstate, "55000")
    assert "hudi/011_hudi_statistics" in str(error), error
    equal(catalog(c, "changed"), before)


def newer(c):
    """A database that a newer pgveneer upgraded is left as it is: files that it does not have any more, too."""
    create(c, "newer")
    upgrade(c, "newer")
    c.direct.sql("UPDATE pgveneer.migration SET checksum = 'another', revision = 99 WHERE name = '006_rebuild_copy';"
                 "DELETE FROM pgveneer.migration WHERE name = '001_task'", user="service", dbname="newer")
    before = catalog(c, "newer"), recorded(c, "newer")
    upgrade(c, "newer")
    equal((catalog(c, "newer"), recorded(c, "newer")), before)


def again(c):
    """Every file that has a revision can run over what it made."""
    create(c, "again")
    upgrade(c, "again")
    c.direct.sql("UPDATE pgveneer.migration SET revision = revision - 1 WHERE revision > 1", user="service", dbname="again")
    upgrade(c, "again")
    equal((catalog(c, "again"), recorded(c, "again")), (catalog(c, "fresh"), recorded(c, "fresh")))


def script():
    return subprocess.run([build_dir() / "print_migrations"], check=True, text=True, capture_output=True).stdout


def main():
    s = Scenarios("upgrade")
    with Cluster() as c:
        create(c, "fresh")
        upgrade(c, "fresh")
        for release in releases.releases():
            s.run(f"from {release}: the same catalog", same_catalog, c, release)
        s.run("a file runs again", again, c)
        s.run("a changed file is refused", refused, c)
        s.run("a newer database is left alone", newer, c)
    for release in releases.releases():
        with Cluster() as c:
            s.run(f"from {release}: data and rebuilds", use, c, release)
    return s.finish()


sys.exit(main())
