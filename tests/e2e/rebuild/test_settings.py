"""rebuild_guc_<name> reaches the work of a rebuild; conversions read dates as the session that submits does."""
import sys

from cluster import Scenarios, equal
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


with Rebuild() as r:
    s.run("settings", settings, r)
sys.exit(s.finish())
