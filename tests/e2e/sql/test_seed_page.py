"""The vendor's pages through pgveneer, as printed: "Synchronizing Hudi Tasks", CREATE SERVER and
CREATE FOREIGN TABLE; by logins of their own, with a service role that is no superuser. No worker
runs, so the tasks stay as they were submitted. And: where secrets do not show up."""
import sys

from cluster import Cluster, Scenarios, equal

SECRETS = ("AK-visible", "SK-visible", "TOKEN-visible", "PW-visible")
CREATE_SERVER = """
    CREATE SERVER obs_server FOREIGN DATA WRAPPER DFS_FDW OPTIONS (
      address 'obs.example.com:443', access_key 'AK-visible', secret_access_key 'SK-visible',
      security_token 'TOKEN-visible', encrypt 'on', type 'obs')"""
CREATE_TABLES = """
    CREATE FOREIGN TABLE public.hudi_read1 (_hoodie_commit_time text, id int NOT NULL, name text)
      SERVER lake OPTIONS (foldername '/data/hudi_read1/', format 'hudi', encoding 'utf-8')
      DISTRIBUTE BY ROUNDROBIN;
    CREATE TABLE public.in_rel (id int PRIMARY KEY, name text)"""


def prepare(c):
    c.direct.sql("CREATE ROLE alice LOGIN PASSWORD 'alice'; CREATE ROLE bob LOGIN PASSWORD 'bob';"
                 "GRANT CREATE ON SCHEMA public TO alice; GRANT alice TO service", user="postgres")
    c.start_proxy("proxy", log_level="debug")


def task_id(c, user="alice"):
    return c.proxy.sql("SELECT task_id FROM pg_task_show('SQLonHudi')", user=user)


def check_creation(c):
    p = c.proxy
    equal(p.sql_error("SELECT pg_catalog.create_hudi_sync_table();", user="alice").sqlstate, "42501")
    p.sql("SELECT pg_catalog.create_hudi_sync_table();")
    equal(p.sql_error("SELECT pg_catalog.create_hudi_sync_table();").sqlstate, "42P07")
    p.sql("CREATE SERVER lake FOREIGN DATA WRAPPER dfs_fdw OPTIONS (type 'local');"
          "GRANT USAGE ON FOREIGN SERVER lake TO alice")
    p.sql(CREATE_TABLES, user="alice")


def check_page(c):
    def sql(text):
        return c.proxy.sql(text, user="alice")
    equal(sql("SELECT hudi_set_sync_commit('public.in_rel', 'public.hudi_read1', '20220913152131');"),
          "20220913152131")
    submitted = sql("SELECT hudi_sync_task_submit('public.in_rel', 'public.hudi_read1');")
    equal(task_id(c), submitted)
    equal(sql("SELECT * FROM pg_task_show('SQLonHudi');").split("|")[:3],
          [submitted, "call pg_catalog.hudi_sync('public.in_rel', 'public.hudi_read1');", "SQLonHudi"])
    equal(sql(f"SELECT pg_task_pause('{submitted}');"), "1")
    equal(sql("SELECT last_log, next_start_time IS NULL FROM pg_task_show('SQLonHudi')"), "paused|t")
    equal(sql(f"SELECT pg_task_resume('{submitted}');"), "1")
    equal(sql(f"SELECT pg_task_reset_interval('{submitted}', '1 minute');"), "1")
    equal(sql("SELECT * FROM hudi_show_sync_state();"), "public.in_rel|public.hudi_read1|||20220913152131")
    equal(sql("SELECT * FROM pg_catalog.hudi_sync_state_history_view;"), "")
    equal(sql(f"SELECT pg_task_remove('{submitted}');"), "1")
    equal(sql("SELECT count(*) FROM pg_task_show('SQLonHudi')"), "0")


def check_rights(c):
    p = c.proxy
    submitted = p.sql("SELECT hudi_sync_task_submit('public.in_rel', 'public.hudi_read1')", user="alice")
    equal(p.sql_error("SELECT hudi_sync_task_submit('public.in_rel', 'public.hudi_read1')", user="bob").sqlstate,
          "42501")
    equal(task_id(c, user="bob"), "")
    equal(p.sql_error(f"SELECT pg_task_pause('{submitted}')", user="bob").sqlstate, "42501")
    equal(task_id(c, user="app"), submitted)  # the owner of the database
    equal(p.sql("SET ROLE bob; SELECT count(*) FROM pg_task_show('SQLonHudi')", user="postgres"), "0")
    equal(p.sql_error("DROP FOREIGN TABLE hudi_read1", user="alice").sqlstate, "2BP01")
    p.sql("DROP FOREIGN TABLE hudi_read1 CASCADE", user="alice")
    equal(task_id(c), "")


def check_transactions(c):
    p = c.proxy
    p.sql("DROP TABLE in_rel;" + CREATE_TABLES, user="alice")
    p.sql("BEGIN; SELECT hudi_sync_task_submit('in_rel', 'hudi_read1'); ROLLBACK", user="alice")
    equal(task_id(c), "")
    p.sql("BEGIN; DROP FOREIGN TABLE hudi_read1; ROLLBACK", user="alice")
    p.sql("BEGIN; SAVEPOINT s; SELECT hudi_sync_task_submit('in_rel', 'hudi_read1'); ROLLBACK TO s; COMMIT",
          user="alice")
    equal(task_id(c), "")
    p.sql("SELECT hudi_sync_task_submit('in_rel', 'hudi_read1')", user="alice")
    equal(len(task_id(c)), 36)


def check_secrets(c):
    p = c.proxy
    p.sql(CREATE_SERVER)
    error = p.sql_error(CREATE_SERVER)
    equal(error.sqlstate, "42710")
    p.sql("BEGIN;" + CREATE_SERVER.replace("obs_server", "obs2") + ";"
          "ALTER SERVER obs2 OPTIONS (SET secret_access_key 'SK-visible'); COMMIT")
    p.sql("CREATE USER MAPPING FOR alice SERVER obs_server OPTIONS (\"user\" 'u', password 'PW-visible')")
    shown = p.sql("SELECT options FROM pgveneer.foreign_server; SELECT options FROM pgveneer.user_mapping;"
                  "SELECT current_setting('pgveneer.secrets', true)")
    equal(p.sql_error("SELECT value FROM pgveneer.secret").sqlstate, "42501")
    equal(p.sql("SELECT count(*) FROM pgveneer.secret", user="service"), "7")
    logs = (c.folder / "postgres.log").read_text() + (c.folder / "pgveneer.log").read_text()
    assert "CALL pgveneer.create_server('obs_server'" in logs, "the server's log shows no statements"
    found = [s for s in SECRETS for text in (shown, str(error), logs) if s in text]
    equal(found, [])
    p.sql("DROP SERVER obs_server, obs2 CASCADE")
    equal(p.sql("SELECT count(*) FROM pgveneer.secret", user="service"), "0")


def main():
    s = Scenarios("vendor's pages")
    with Cluster(settings={"log_statement": "all", "log_min_error_statement": "debug5",
                           "log_parameter_max_length_on_error": "-1"}) as c:
        prepare(c)
        for check in (check_creation, check_page, check_rights, check_transactions, check_secrets):
            s.run(check.__name__[6:], check, c)
    return s.finish()


sys.exit(main())
