// pgjdbc (a protocol implementation of its own): see ../python/scenario.py for the form of the output.
import java.io.ByteArrayInputStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.sql.Array;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;

public class Run {
    interface Scenario { Object run() throws Exception; }

    interface Condition { boolean holds() throws Exception; }

    static class NotApplicable extends Exception {
        NotApplicable(String why) { super(why); }
    }

    static final Map<String, Scenario> SCENARIOS = new LinkedHashMap<>();

    static Connection open(String... more) throws SQLException {
        Properties p = new Properties();
        p.put("user", System.getenv("PGUSER"));
        p.put("password", System.getenv("PGPASSWORD"));
        p.put("sslmode", "disable");
        for (int i = 0; i < more.length; i += 2)
            p.put(more[i], more[i + 1]);
        return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
            + System.getenv("PGDATABASE"), p);
    }

    static List<Object> rows(ResultSet r) throws SQLException {
        List<Object> seen = new ArrayList<>();
        while (r.next()) {
            List<Object> row = new ArrayList<>();
            for (int i = 1; i <= r.getMetaData().getColumnCount(); i++) {
                Object v = r.getObject(i);
                row.add(v instanceof Array ? Arrays.toString((Object[]) ((Array) v).getArray()) : v instanceof byte[]
                    ? Arrays.toString((byte[]) v) : v);
            }
            seen.add(row);
        }
        return seen;
    }

    static List<Object> query(Connection c, String sql, Object... values) throws SQLException {
        try (PreparedStatement st = c.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++)
                st.setObject(i + 1, values[i]);
            return rows(st.executeQuery());
        }
    }

    static void execute(Connection c, String sql) throws SQLException {
        try (Statement st = c.createStatement()) {
            st.execute(sql);
        }
    }

    static Object first(List<Object> rows) { return ((List<?>) rows.get(0)).get(0); }

    static List<Object> errorOf(Scenario s) throws Exception {
        try {
            s.run();
        } catch (SQLException e) {
            return Arrays.asList(e.getSQLState(), e.getMessage());
        }
        throw new AssertionError("no error");
    }

    static void until(String what, Condition condition) throws Exception {
        for (int i = 0; i < 3000; i++) {
            if (condition.holds())
                return;
            Thread.sleep(20);
        }
        throw new AssertionError("waited in vain: " + what);
    }

    static Object prepared(String... more) throws Exception {
        List<Object> seen = new ArrayList<>();
        Connection c = open(more);
        try (PreparedStatement st = c.prepareStatement("SELECT ?::int + 1, ?::text, now() > '2000-01-01'::timestamptz, 1.5::float8")) {
            for (int i = 0; i < 12; i++) { // named from the fifth on, binary results then
                st.setInt(1, i);
                st.setString(2, "n" + i);
                seen.add(rows(st.executeQuery()));
            }
        }
        return seen;
    }

    static void fill() {
        SCENARIOS.put("connect", () -> query(open("ApplicationName", "matrix", "options", "-c geqo=off"),
            "SELECT current_setting('application_name'), current_setting('geqo'), current_user"));
        SCENARIOS.put("parameters", () -> {
            Connection c = open();
            return query(c, "SELECT ?::int, ?::int8, ?::text, ?::text, ?::bytea, ?::numeric, ?::float8, ?::bool, ?::int[]", 1, -1L << 62,
                "text with 'quotes' \\ ü€", null, new byte[] {0, -1}, new java.math.BigDecimal("123.4500"), 1.5, true,
                c.createArrayOf("int4", new Object[] {1, null, 3}));
        });
        SCENARIOS.put("binary", () -> prepared("prepareThreshold", "-1", "binaryTransfer", "true"));
        SCENARIOS.put("prepared", () -> Arrays.asList(prepared(), prepared("preferQueryMode", "simple"),
            prepared("preferQueryMode", "extendedForPrepared"), prepared("preferQueryMode", "extendedCacheEverything")));
        SCENARIOS.put("portals", Run::portals);
        SCENARIOS.put("batch", Run::batch);
        SCENARIOS.put("pipeline", () -> { throw new NotApplicable("JDBC has no pipeline beside batches"); });
        SCENARIOS.put("copy_in", () -> {
            Connection c = open();
            execute(c, "CREATE TEMP TABLE c (id int, name text)");
            StringBuilder lines = new StringBuilder();
            for (int i = 0; i < 2000; i++)
                lines.append(i).append("\tname ").append(i).append('\n');
            var copy = c.unwrap(PGConnection.class).getCopyAPI();
            long n = copy.copyIn("COPY c FROM STDIN", new StringReader(lines.toString()));
            Object failed = errorOf(() -> copy.copyIn("COPY c FROM STDIN", new StringReader("nonsense\n")));
            return Arrays.asList(n, failed, query(c, "SELECT count(*), max(name) FROM c"));
        });
        SCENARIOS.put("copy_out", () -> {
            StringWriter out = new StringWriter();
            long n = open().unwrap(PGConnection.class).getCopyAPI().copyOut("COPY (SELECT i, 'x' || i FROM generate_series(1, 5000) i) TO STDOUT", out);
            return Arrays.asList(n, out.toString().length());
        });
        SCENARIOS.put("cancel", Run::cancel);
        SCENARIOS.put("timeout", () -> {
            Connection c = open();
            try (Statement st = c.createStatement()) {
                st.setQueryTimeout(1); // a cancel request of the driver's own timer
                return Arrays.asList(errorOf(() -> st.execute("SELECT pg_sleep(60)")),
                    errorOf(() -> open("options", "-c statement_timeout=100").createStatement().execute("SELECT pg_sleep(60)")),
                    query(c, "SELECT 'alive'"));
            }
        });
        SCENARIOS.put("notices", () -> {
            try (Statement st = open().createStatement()) {
                st.execute("DO $$ BEGIN RAISE WARNING 'two' USING HINT = 'h', ERRCODE = '01234'; END $$");
                SQLWarning w = st.getWarnings();
                return Arrays.asList(w.getSQLState(), w.getMessage());
            }
        });
        SCENARIOS.put("listen", () -> {
            Connection c = open();
            execute(c, "LISTEN news");
            query(open(), "SELECT pg_notify('news', ?)", "payload");
            PGNotification[] arrived = c.unwrap(PGConnection.class).getNotifications(60000);
            return Arrays.asList(arrived[0].getName(), arrived[0].getParameter());
        });
        SCENARIOS.put("large_objects", Run::largeObjects);
        SCENARIOS.put("batch_error", Run::batchError);
        SCENARIOS.put("transaction", Run::transaction);
        SCENARIOS.put("savepoint", Run::savepoint);
        SCENARIOS.put("large_value", () -> {
            byte[] data = new byte[16 << 20];
            for (int i = 0; i < data.length; i++)
                data[i] = (byte) (i * 31);
            try (PreparedStatement st = open().prepareStatement("SELECT length(?), ?")) {
                st.setBytes(1, data);
                st.setBinaryStream(2, new ByteArrayInputStream(data), data.length);
                ResultSet r = st.executeQuery();
                r.next();
                return Arrays.asList(r.getInt(1), Arrays.equals(data, r.getBytes(2)));
            }
        });
        SCENARIOS.put("vendor_task", () -> {
            Connection c = open();
            Object failed = errorOf(() -> query(c, "SELECT pg_task_pause(?)", "no such task"));
            return Arrays.asList(query(c, "SELECT what, failure_times FROM pg_task_show(?)", "SQLonHudi"), failed);
        });
        SCENARIOS.put("vendor_cursor", Run::vendorCursor);
        SCENARIOS.put("vendor_rebuild", () -> {
            Connection c = open();
            execute(c, "DROP TABLE IF EXISTS matrix_rebuild");
            execute(c, "CREATE TABLE matrix_rebuild (id int PRIMARY KEY)");
            Object id = first(query(c, "ASYNC REBUILD TABLE matrix_rebuild ADD COLUMN more text"));
            until("the table is rebuilt", () -> "done".equals(first(query(c,
                "SELECT status FROM hologres.rebuild_progress(?) WHERE step = 'swap'", id))));
            try (Statement st = c.createStatement()) {
                return st.executeQuery("SELECT * FROM matrix_rebuild").getMetaData().getColumnName(2);
            }
        });
    }

    static Object portals() throws Exception {
        Connection c = open();
        c.setAutoCommit(false);
        try (PreparedStatement st = c.prepareStatement("SELECT i FROM generate_series(1, ?) i")) {
            st.setFetchSize(3);
            st.setInt(1, 10);
            return rows(st.executeQuery());
        }
    }

    static Object batch() throws Exception {
        Connection c = open("reWriteBatchedInserts", "true");
        execute(c, "CREATE TEMP TABLE b (id int)");
        c.setAutoCommit(false); // BEGIN travels in the batch
        try (PreparedStatement st = c.prepareStatement("INSERT INTO b VALUES (?)")) {
            for (int i = 0; i < 500; i++) {
                st.setInt(1, i);
                st.addBatch();
            }
            int n = st.executeBatch().length;
            c.commit();
            return Arrays.asList(n, query(c, "SELECT count(*), sum(id) FROM b"));
        }
    }

    static Object cancel() throws Exception {
        Connection c = open();
        Object pid = first(query(c, "SELECT pg_backend_pid()"));
        Statement st = c.createStatement();
        Thread canceller = new Thread(() -> {
            try (Connection other = open()) {
                until("the statement sleeps", () -> first(query(other,
                    "SELECT count(*)::int FROM pg_stat_activity WHERE pid = ? AND wait_event = 'PgSleep'", pid)).equals(1));
                st.cancel();
            } catch (Exception e) {
                throw new RuntimeException(e);
            }
        });
        canceller.start();
        Object failed = errorOf(() -> st.execute("SELECT pg_sleep(60)"));
        canceller.join();
        return Arrays.asList(failed, query(c, "SELECT 'alive'"));
    }

    static Object largeObjects() throws Exception {
        Connection c = open();
        c.setAutoCommit(false);
        LargeObjectManager m = c.unwrap(PGConnection.class).getLargeObjectAPI();
        long oid = m.createLO();
        LargeObject lo = m.open(oid, LargeObjectManager.READWRITE);
        lo.write("abc".repeat(10000).getBytes(StandardCharsets.UTF_8));
        lo.seek(3);
        String piece = new String(lo.read(6), StandardCharsets.UTF_8);
        lo.close();
        m.delete(oid);
        c.commit();
        return piece;
    }

    static Object batchError() throws Exception {
        Connection c = open();
        execute(c, "CREATE TEMP TABLE e (id int PRIMARY KEY)");
        try (PreparedStatement st = c.prepareStatement("INSERT INTO e VALUES (?)")) {
            for (int v : new int[] {1, 2, 1, 3}) {
                st.setInt(1, v);
                st.addBatch();
            }
            st.executeBatch();
        } catch (BatchUpdateException e) {
            return Arrays.asList(e.getSQLState(), Arrays.toString(e.getUpdateCounts()), query(c, "SELECT count(*) FROM e"));
        }
        return null;
    }

    static Object transaction() throws Exception {
        List<Object> seen = new ArrayList<>();
        for (String autosave : new String[] {"never", "always"}) {
            Connection c = open("autosave", autosave);
            execute(c, "CREATE TEMP TABLE t (id int)");
            c.setAutoCommit(false);
            execute(c, "INSERT INTO t VALUES (1)");
            seen.add(errorOf(() -> query(c, "SELECT 1/?::int", 0)));
            try {
                seen.add(query(c, "SELECT count(*) FROM t"));
            } catch (SQLException e) {
                seen.add(e.getSQLState());
            }
            c.rollback();
            seen.add(query(c, "SELECT count(*) FROM t"));
        }
        return seen;
    }

    static Object savepoint() throws Exception {
        Connection c = open();
        List<Object> seen = new ArrayList<>();
        execute(c, "CREATE TEMP TABLE s (id int PRIMARY KEY)");
        c.setAutoCommit(false);
        for (int v : new int[] {1, 1, 2}) {
            Savepoint x = c.setSavepoint();
            try {
                execute(c, "INSERT INTO s VALUES (" + v + ")");
            } catch (SQLException e) {
                seen.add(e.getSQLState());
                c.rollback(x);
            }
        }
        c.commit();
        seen.add(query(c, "SELECT array_agg(id) FROM s"));
        return seen;
    }

    static Object vendorCursor() throws Exception {
        Connection c = open();
        c.setAutoCommit(false);
        execute(c, "DECLARE c1 PARALLEL RETRIEVE CURSOR FOR SELECT * FROM generate_series(1, 10)");
        List<Object> found = query(c, "SELECT endpoint_name, auth_token FROM gp_endpoints WHERE cursor_name = ?", "c1");
        List<?> endpoint = (List<?>) found.get(0);
        Connection reader = open("password", (String) endpoint.get(1), "options", "-c gp_session_role=retrieve");
        List<Object> seen = new ArrayList<>();
        seen.add(found.size());
        try (PreparedStatement st = reader.prepareStatement("RETRIEVE 1 FROM ENDPOINT " + endpoint.get(0))) {
            for (int i = 0; i < 8; i++) // becomes a named statement with binary results in mid-endpoint
                seen.add(rows(st.executeQuery()));
        }
        seen.add(query(reader, "RETRIEVE ALL FROM ENDPOINT " + endpoint.get(0)).size());
        execute(c, "CHECK PARALLEL RETRIEVE CURSOR c1 NOWAIT");
        execute(c, "CLOSE c1");
        c.commit();
        return seen;
    }

    static String json(String s) {
        StringBuilder out = new StringBuilder("\"");
        for (char ch : s.toCharArray())
            out.append(ch == '"' || ch == '\\' ? "\\" + ch : ch < ' ' ? String.format("\\u%04x", (int) ch) : "" + ch);
        return out.append('"').toString();
    }

    public static void main(String[] names) {
        fill();
        for (String name : names) {
            String key, text;
            try {
                key = "saw";
                if (!SCENARIOS.containsKey(name))
                    throw new NotApplicable("no such interface in this client");
                text = String.valueOf(SCENARIOS.get(name).run());
            } catch (NotApplicable e) {
                key = "na";
                text = e.getMessage();
            } catch (Throwable e) {
                key = "failed";
                text = e + "\n" + Arrays.toString(e.getStackTrace()).replace(", ", "\n");
            }
            System.out.println("{\"scenario\": " + json(name) + ", \"" + key + "\": " + json(text) + "}");
        }
        System.out.flush();
        System.exit(0);
    }
}
