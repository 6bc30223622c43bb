"""rebuild_guc_<name> reaches the work of a rebuild; conversions read dates as the session that submits does."""
import sys

from cluster import Scenarios, equal
import psycopg2
from rebuild import Rebuild

s = Scenarios("settings")


def settings(r):
    r.sql("CREATE TABLE g1 (id int PRIMARY KEY, v text, d text); INSERT INTO g1 VALUES (1, 'x', '01.02.2025')")
    told = r.notices("ASYNC REBUILD TABLE g1 WITH (rebuild_guc_hg_computing_resource = 'serverless') SET (orientation = 'row')")
    assert 'parameter "rebuild_guc_hg_computing_resource" has no meaning here' in told, told
    r.sql("SET DateStyle = 'German'; ASYNC REBUILD TABLE g1 WITH (rebuild_guc_work_mem = '7MB', rebuild_guc_maintenance_work_mem = '9MB') "
          "ALTER v TYPE varchar USING current_setting('work_mem'), ALTER d TYPE date USING d::date, "
          "ALTER PRIMARY KEY (id, v), ALTER v SET NOT NULL")
    id = r.sql("SELECT max(task_id) FROM pg_task_show('REBUILD')")
    r.wait_done(id)
    equal(r.sql("SELECT v, to_char(d, 'YYYY-MM-DD') FROM g1"), "7MB|2025-02-01", "row")


def lock_wait(r):
    """A reader who does not end: the step fails in time and names the table; RESUME goes on. Nobody's statement is cancelled, and
    writers are let through meanwhile."""
    r.sql("CREATE TABLE g2 (id int PRIMARY KEY, v int); INSERT INTO g2 SELECT i, i FROM generate_series(1, 100) i")
    for action, step in (("SET (fillfactor = 80)", "set_readonly"), ("ALTER v SET DEFAULT 3", "swap")):
        reader = psycopg2.connect(r.cluster.direct.dsn())
        reader.cursor().execute("SELECT count(*) FROM g2")
        id = r.submit(f"ASYNC REBUILD TABLE g2 WITH (rebuild_guc_hg_rebuild_max_lock_wait_s = 3, rebuild_guc_hg_rebuild_lock_timeout_ms = 5) {action}")
        while r.state(id) == "active":
            r.sql("UPDATE g2 SET v = v + 1 WHERE id = 1", PGOPTIONS="-c lock_timeout=5s")
        failed = r.wait_error(id)
        equal(failed[0], step, action)
        assert "table public.g2 was in use for 3 seconds (55006)" in failed[1], failed
        reader.commit()
        reader.close()
        r.sql(f"RESUME '{id}'")
        r.wait_done(id)
    e = r.sql_error("ASYNC REBUILD TABLE g2 WITH (rebuild_guc_hg_rebuild_lock_timeout_ms = 'soon') SET (fillfactor = 90)")
    equal(e.sqlstate, "22023", "not a number")


with Rebuild() as r:
    s.run("settings", settings, r)
    s.run("lock wait", lock_wait, r)
sys.exit(s.finish())
