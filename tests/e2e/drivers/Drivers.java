// pgjdbc through pgveneer. It has a protocol implementation of its own: named statements from the fifth
// execution on, binary results after that, portals with row limits, simple queries inside an
// unfinished extended cycle (autosave), several statements behind one Sync.
//
//     java -cp postgresql.jar Drivers.java DIRECT_URL PROXY_URL
//     java -cp postgresql.jar Drivers.java seed PROXY_URL FIRST_COMMIT HUDI_WRITER FOLDER
//
// A scenario notes what it saw; it runs directly and through pgveneer, and both must have seen the same.
// The second form runs the statements of the vendor's page with parameters, against a Hudi table.

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.*;
import java.util.concurrent.TimeUnit;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.PGStatement;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PGobject;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

public class Drivers {
    interface Scenario {
        void run(Opener opener, List<Object> seen) throws Exception;
    }

    /** Opens connections to one of the two servers. */
    record Opener(String url) {
        Connection open(String... options) throws SQLException {
            Properties p = new Properties();
            p.setProperty("user", "app");
            p.setProperty("password", "app");
            p.setProperty("loginTimeout", "30");
            for (String option : options)
                p.setProperty(option.substring(0, option.indexOf('=')), option.substring(option.indexOf('=') + 1));
            return DriverManager.getConnection(url, p);
        }
    }

    static final Map<String, Scenario> scenarios = new LinkedHashMap<>();

    static void note(List<Object> seen, SQLException e) {
        ServerErrorMessage m = e instanceof PSQLException ? ((PSQLException) e).getServerErrorMessage() : null;
        if (m == null)
            seen.add(e.getSQLState() + " " + e.getMessage());
        else
            seen.add(m.getSQLState() + " " + m.getMessage() + " at " + m.getPosition() + " " + m.getDetail() + " "
                + m.getHint() + " " + m.getConstraint());
    }

    static void rows(List<Object> seen, ResultSet rs) throws SQLException {
        ResultSetMetaData m = rs.getMetaData();
        StringBuilder names = new StringBuilder();
        for (int i = 1; i <= m.getColumnCount(); i++)
            names.append(m.getColumnName(i)).append(' ').append(m.getColumnTypeName(i)).append(", ");
        seen.add(names.toString());
        while (rs.next()) {
            StringBuilder row = new StringBuilder();
            for (int i = 1; i <= m.getColumnCount(); i++)
                row.append(m.getColumnType(i) == Types.BINARY ? Arrays.toString(rs.getBytes(i)) : rs.getString(i)).append('|');
            seen.add(row.toString());
        }
        rs.close();
    }

    static void sql(Connection c, String... statements) throws SQLException {
        try (Statement s = c.createStatement()) {
            for (String text : statements)
                s.execute(text);
        }
    }

    static void query(List<Object> seen, Connection c, String text, Object... params) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(text)) {
            for (int i = 0; i < params.length; i++)
                s.setObject(i + 1, params[i]);
            rows(seen, s.executeQuery());
        } catch (SQLException e) {
            note(seen, e);
        }
    }

    // ---- parameters and prepared statements

    static final String ALL_TYPES = "SELECT ?::int AS i, ?::int8 AS l, ?::text AS t, ?::bytea AS b, ?::numeric AS n,"
        + " ?::float8 AS f, ?::bool AS o, ?::date AS d, ?::timestamptz AS z, ?::uuid AS u, ?::int[] AS a,"
        + " ?::jsonb AS j, ?::text AS nothing";

    static void bindAll(Connection c, PreparedStatement s, boolean simple) throws SQLException {
        PGobject json = new PGobject();
        json.setType("jsonb");
        json.setValue("{\"a\": [1, null]}");
        s.setInt(1, 42);
        s.setLong(2, -(1L << 62));
        s.setString(3, "text with 'quotes' \\ and ü€😀");
        if (simple)
            s.setNull(4, Types.BINARY); // pgjdbc cannot write bytes as a literal
        else
            s.setBytes(4, new byte[] {0, -1, 92});
        s.setBigDecimal(5, new BigDecimal("123.4500"));
        s.setDouble(6, 1.5);
        s.setBoolean(7, true);
        s.setDate(8, java.sql.Date.valueOf("2024-02-29"));
        s.setTimestamp(9, new Timestamp(1709208000123L));
        s.setObject(10, UUID.fromString("42000000-0000-0000-0000-000000000000"));
        s.setArray(11, c.createArrayOf("int4", new Object[] {1, null, 3}));
        s.setObject(12, json);
        s.setNull(13, Types.VARCHAR);
    }

    static void parameters(Opener o, List<Object> seen, String... options) throws SQLException {
        try (Connection c = o.open(options); PreparedStatement s = c.prepareStatement(ALL_TYPES)) {
            for (int i = 0; i < 12; i++) { // the fifth is named, the seventh comes in binary
                bindAll(c, s, Arrays.asList(options).contains("preferQueryMode=simple"));
                rows(seen, s.executeQuery());
                seen.add(((PGStatement) s).isUseServerPrepare());
            }
        }
    }

    static void describedParameters(Opener o, List<Object> seen) throws SQLException {
        try (Connection c = o.open();
             PreparedStatement s = c.prepareStatement("SELECT ? + 1, ? || 'x' FROM pg_class WHERE oid = ?")) {
            ParameterMetaData p = s.getParameterMetaData();
            for (int i = 1; i <= p.getParameterCount(); i++)
                seen.add(p.getParameterTypeName(i));
            seen.add(s.getMetaData().getColumnTypeName(2));
        }
    }

    static void preparedPastChange(Opener o, List<Object> seen) throws SQLException {
        try (Connection c = o.open("prepareThreshold=1")) {
            sql(c, "CREATE TEMP TABLE changes (id int, name text)", "INSERT INTO changes VALUES (1, 'a')");
            try (PreparedStatement s = c.prepareStatement("SELECT * FROM changes WHERE id = ?")) {
                for (int i = 0; i < 4; i++) {
                    s.setInt(1, 1);
                    rows(seen, s.executeQuery());
                    if (i == 1)
                        sql(c, "ALTER TABLE changes ADD more int DEFAULT 7");
                }
            }
            sql(c, "DISCARD ALL");
            query(seen, c, "SELECT ?::int", 3);
            sql(c, "DEALLOCATE ALL");
            query(seen, c, "SELECT ?::int", 4);
        }
    }

    static void twoHundredStatements(Opener o, List<Object> seen) throws SQLException {
        try (Connection c = o.open("prepareThreshold=1", "preparedStatementCacheQueries=20")) {
            for (int i = 0; i < 200; i++) // more than the cache holds: Close messages ride along
                query(seen, c, "SELECT ?::int + " + i, i);
            query(seen, c, "SELECT count(*) < 30 FROM pg_prepared_statements");
        }
    }

    // ---- portals

    static void fetchSize(Opener o, List<Object> seen) throws SQLException {
        try (Connection c = o.open()) {
            c.setAutoCommit(false);
            for (int round = 0; round < 7; round++) {
                try (PreparedStatement s = c.prepareStatement("SELECT i, 'row ' || i FROM generate_series(1, ?) i")) {
                    s.setFetchSize(3);
                    s.setInt(1, 10);
                    rows(seen, s.executeQuery());
                }
            }
            try (Statement s = c.createStatement()) {
                s.setFetchSize(2);
                ResultSet rs = s.executeQuery("SELECT 1 / (4 - i) FROM generate_series(1, 10) i");
                try {
                    while (rs.next())
                        seen.add(rs.getInt(1));
                } catch (SQLException e) {
                    note(seen, e);
                }
            }
            c.rollback();
            try (Statement a = c.createStatement(); Statement b = c.createStatement()) { // two open portals
                a.setFetchSize(2);
                b.setFetchSize(3);
                ResultSet x = a.executeQuery("SELECT i FROM generate_series(1, 7) i");
                ResultSet y = b.executeQuery("SELECT -i FROM generate_series(1, 7) i");
                while (x.next() && y.next())
                    seen.add(x.getInt(1) + y.getInt(1));
                a.close();
                query(seen, c, "SELECT 'between'");
            }
            c.commit();
        }
    }

    static void scrollable(Opener o, List<Object> seen) throws SQLException {
        try (Connection c = o.open();
             Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
            sql(c, "CREATE TEMP TABLE u (id int PRIMARY KEY, name text)", "INSERT INTO u VALUES (1, 'a'), (2, 'b')");
            ResultSet rs = s.executeQuery("SELECT id, name FROM u ORDER BY id");
            rs.absolute(2);
            rs.updateString(2, "changed");
            rs.updateRow();
            rs.moveToInsertRow();
            rs.updateInt(1, 3);
            rs.updateString(2, "new");
            rs.insertRow();
            query(seen, c, "SELECT * FROM u ORDER BY id");
        }
    }

    // ---- several statements at once

    static void batch(Opener o, List<Object> seen, String... options) throws SQLException {
        try (Connection c = o.open(options)) {
            sql(c, "CREATE TEMP TABLE b (id int PRIMARY KEY, name text)");
            c.setAutoCommit(false);
            try (PreparedStatement s = c.prepareStatement("INSERT INTO b VALUES (?, ?)")) {
                for (int i = 0; i < 700; i++) {
                    s.setInt(1, i);
                    s.setString(2, "name " + i);
                    s.addBatch();
                }
                int inserted = s.executeBatch().length;
                seen.add(inserted);
                c.commit();
                for (int i : new int[] {1000, 5, 1001}) {
                    s.setInt(1, i);
                    s.setString(2, "twice");
                    s.addBatch();
                }
                s.executeBatch();
            } catch (BatchUpdateException e) {
                seen.add(Arrays.toString(e.getUpdateCounts()));
                note(seen, (SQLException) e.getCause());
            }
            c.rollback();
            try (Statement s = c.createStatement()) {
                s.addBatch("UPDATE b SET name = 'x' WHERE id < 10");
                s.addBatch("DELETE FROM b WHERE id < 3");
                s.addBatch("CREATE TEMP TABLE more (id int)");
                seen.add(Arrays.toString(s.executeBatch()));
            }
            c.commit();
            query(seen, c, "SELECT count(*), count(*) FILTER (WHERE name = 'x') FROM b");
            c.commit();
        }
    }

    static void severalResults(Opener o, List<Object> seen, String... options) throws SQLException {
        try (Connection c = o.open(options); Statement s = c.createStatement()) {
            boolean isRows = s.execute("SELECT 1; CREATE TEMP TABLE r (id int); INSERT INTO r VALUES (1), (2); SELECT * FROM r");
            while (true) {
                if (isRows)
                    rows(seen, s.getResultSet());
                else if (s.getUpdateCount() >= 0)
                    seen.add("count " + s.getUpdateCount());
                else
                    break;
                isRows = s.getMoreResults();
            }
            try {
                s.execute("SELECT 1; SELECT 1/0; SELECT 2");
            } catch (SQLException e) {
                note(seen, e);
            }
            try (PreparedStatement keys = c.prepareStatement("INSERT INTO r VALUES (?)", Statement.RETURN_GENERATED_KEYS)) {
                keys.setInt(1, 7);
                keys.executeUpdate();
                rows(seen, keys.getGeneratedKeys());
            }
        }
    }

    static void callable(Opener o, List<Object> seen) throws SQLException {
        try (Connection c = o.open("escapeSyntaxCallMode=callIfNoReturn")) {
            sql(c, "CREATE OR REPLACE FUNCTION pg_temp.twice(a int) RETURNS int LANGUAGE sql AS 'SELECT a * 2'",
                "CREATE OR REPLACE PROCEDURE pg_temp.inc(INOUT a int) LANGUAGE plpgsql AS 'BEGIN a := a + 1; END'");
            try (CallableStatement s = c.prepareCall("{? = call pg_temp.twice(?)}")) {
                s.registerOutParameter(1, Types.INTEGER);
                s.setInt(2, 21);
                s.execute();
                seen.add(s.getInt(1));
            }
            try (CallableStatement s = c.prepareCall("{call pg_temp.inc(?)}")) {
                s.registerOutParameter(1, Types.INTEGER);
                s.setInt(1, 41);
                s.execute();
                seen.add(s.getInt(1));
            }
        }
    }

    // ---- transactions

    static void errorsAndSavepoints(Opener o, List<Object> seen, String... options) throws SQLException {
        try (Connection c = o.open(options)) {
            sql(c, "CREATE TEMP TABLE s (id int PRIMARY KEY)");
            c.setAutoCommit(false);
            sql(c, "INSERT INTO s VALUES (1)");
            Savepoint p = c.setSavepoint("point");
            for (int i = 0; i < 8; i++) { // past the threshold, with an error in between
                try (PreparedStatement s = c.prepareStatement("INSERT INTO s VALUES (?)")) {
                    s.setInt(1, i % 4 == 1 ? 1 : 10 + i);
                    s.executeUpdate();
                } catch (SQLException e) {
                    note(seen, e);
                    if (options.length == 0)
                        c.rollback(p);
                }
            }
            query(seen, c, "SELECT array_agg(id ORDER BY id) FROM s");
            query(seen, c, "SELECT nonsense FROM s");
            query(seen, c, "SELECT count(*) FROM s"); // 25P02, or recovered by autosave
            c.rollback();
            query(seen, c, "SELECT count(*) FROM s");
            c.rollback();
            c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            c.setReadOnly(true);
            query(seen, c, "SHOW transaction_isolation");
            c.rollback();
            c.setReadOnly(false);
            c.setAutoCommit(true);
            query(seen, c, "SELECT 1 FROM missing WHERE x = ?", 1);
            query(seen, c, "SELECT 'alive'");
        }
    }

    // ---- COPY, large objects, large values

    static void copy(Opener o, List<Object> seen) throws Exception {
        try (Connection c = o.open()) {
            CopyManager m = c.unwrap(PGConnection.class).getCopyAPI();
            sql(c, "CREATE TEMP TABLE c (id int, name text)");
            StringBuilder text = new StringBuilder();
            for (int i = 0; i < 20000; i++)
                text.append(i).append("\tname ").append(i).append('\n');
            seen.add(m.copyIn("COPY c FROM STDIN", new StringReader(text.toString())));
            StringWriter out = new StringWriter();
            seen.add(m.copyOut("COPY (SELECT * FROM c ORDER BY id) TO STDOUT", out));
            seen.add(out.toString().equals(text.toString()));
            ByteArrayOutputStream binary = new ByteArrayOutputStream();
            seen.add(m.copyOut("COPY c TO STDOUT (FORMAT binary)", binary));
            seen.add(m.copyIn("COPY c FROM STDIN (FORMAT binary)", new ByteArrayInputStream(binary.toByteArray())));
            for (String bad : new String[] {"1\tx\nnonsense\n", "1\n"}) {
                try {
                    m.copyIn("COPY c FROM STDIN", new StringReader(bad));
                } catch (SQLException e) {
                    note(seen, e);
                }
            }
            var half = m.copyIn("COPY c FROM STDIN");
            half.writeToCopy("7\tseven\n".getBytes(StandardCharsets.UTF_8), 0, 8);
            half.cancelCopy();
            var early = m.copyOut( // slow, so that the cancel finds it running
                "COPY (SELECT repeat('x', 9000), pg_sleep(0.05) FROM generate_series(1, 1000)) TO STDOUT");
            seen.add(early.readFromCopy().length);
            early.cancelCopy();
            query(seen, c, "SELECT count(*) FROM c");
        }
    }

    static void largeObjects(Opener o, List<Object> seen) throws SQLException {
        try (Connection c = o.open()) { // FunctionCall messages
            c.setAutoCommit(false);
            var manager = c.unwrap(PGConnection.class).getLargeObjectAPI();
            long oid = manager.createLO();
            try (var large = manager.open(oid)) {
                large.write(new byte[300000]);
                large.seek(1000);
                large.write("hello".getBytes(StandardCharsets.UTF_8));
                large.seek(998);
                seen.add(Arrays.toString(large.read(9)));
                seen.add(large.size());
            }
            manager.delete(oid);
            c.commit();
        }
    }

    static void largeValues(Opener o, List<Object> seen) throws SQLException {
        byte[] data = new byte[20_000_000];
        new Random(1).nextBytes(data);
        try (Connection c = o.open("prepareThreshold=-1");
             PreparedStatement s = c.prepareStatement("SELECT ?::bytea, length(?::bytea)")) {
            s.setBytes(1, data);
            s.setBytes(2, data);
            ResultSet rs = s.executeQuery();
            rs.next();
            seen.add(Arrays.equals(rs.getBytes(1), data));
            seen.add(rs.getInt(2));
            query(seen, c, "SELECT sum(length(x)) FROM (SELECT repeat('x', 1000) AS x FROM generate_series(1, 20000)) t");
        }
    }

    // ---- cancel, notices, notifications, end

    static void cancel(Opener o, List<Object> seen) throws Exception {
        try (Connection c = o.open(); Connection other = o.open()) {
            int pid = c.unwrap(PGConnection.class).getBackendPID();
            PreparedStatement s = c.prepareStatement("SELECT pg_sleep(?)");
            s.setInt(1, 60);
            Thread t = new Thread(() -> {
                try (PreparedStatement look = other.prepareStatement(
                         "SELECT 1 FROM pg_stat_activity WHERE pid = ? AND wait_event = 'PgSleep'")) {
                    look.setInt(1, pid);
                    for (int i = 0; i < 600 && !look.executeQuery().next(); i++)
                        TimeUnit.MILLISECONDS.sleep(50);
                    s.cancel();
                } catch (Exception e) {
                    e.printStackTrace();
                }
            });
            t.start();
            try {
                s.executeQuery();
            } catch (SQLException e) {
                note(seen, e);
            }
            t.join();
            query(seen, c, "SELECT 'alive'");
        }
    }

    static void queryTimeout(Opener o, List<Object> seen) throws SQLException {
        try (Connection c = o.open(); Statement s = c.createStatement()) {
            s.setQueryTimeout(1);
            try {
                s.execute("SELECT pg_sleep(60)");
            } catch (SQLException e) {
                note(seen, e);
            }
            s.setQueryTimeout(0);
            rows(seen, s.executeQuery("SELECT 'alive'"));
        }
    }

    static void notices(Opener o, List<Object> seen) throws SQLException {
        try (Connection c = o.open(); Statement s = c.createStatement()) {
            s.execute("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two' USING HINT = 'h'; END $$");
            for (SQLWarning w = s.getWarnings(); w != null; w = w.getNextWarning())
                seen.add(w.getSQLState() + " " + w.getMessage());
        }
    }

    static void notifications(Opener o, List<Object> seen) throws SQLException {
        try (Connection c = o.open(); Connection other = o.open()) {
            PGConnection p = c.unwrap(PGConnection.class);
            sql(c, "LISTEN news");
            sql(other, "NOTIFY news, 'one'", "NOTIFY news, 'two'");
            for (int got = 0; got < 2;) {
                PGNotification[] all = p.getNotifications(10000);
                if (all == null || all.length == 0)
                    throw new SQLException("no notification within 10 s");
                got += all.length;
                for (PGNotification n : all)
                    seen.add(n.getName() + " " + n.getParameter());
            }
        }
    }

    static void metadata(Opener o, List<Object> seen) throws SQLException {
        try (Connection c = o.open()) {
            DatabaseMetaData m = c.getMetaData();
            rows(seen, m.getSchemas());
            rows(seen, m.getColumns(null, "information_schema", "tables", "%"));
            rows(seen, m.getFunctions(null, "pg_catalog", "abs"));
            rows(seen, m.getTypeInfo());
            seen.add(m.getDatabaseProductVersion() + " " + m.getMaxColumnNameLength());
            seen.add(c.isValid(5));
        }
    }

    static void terminated(Opener o, List<Object> seen) throws SQLException {
        try (Connection c = o.open()) {
            query(seen, c, "SELECT pg_terminate_backend(pg_backend_pid())");
            seen.add(c.isValid(5));
        }
    }

    static void refused(Opener o, List<Object> seen) {
        for (String change : new String[] {"password=wrong", "user=nobody", "options=-c nonsense=1"}) {
            try {
                o.open(change).close();
                seen.add("accepted");
            } catch (SQLException e) {
                note(seen, e);
            }
        }
    }

    static void settings(Opener o, List<Object> seen) throws SQLException {
        try (Connection c = o.open("ApplicationName=my app", "currentSchema=x,public", "options=-c geqo=off",
                 "assumeMinServerVersion=9.0")) {
            query(seen, c, "SELECT current_setting('application_name'), current_setting('search_path'), current_setting('geqo')");
            c.setSchema("public");
            c.setClientInfo("ApplicationName", "other");
            query(seen, c, "SELECT current_schema(), current_setting('application_name')");
        }
    }

    static void list() {
        scenarios.put("parameters past the threshold", (o, seen) -> parameters(o, seen));
        scenarios.put("parameters, binary from the first", (o, seen) -> parameters(o, seen, "prepareThreshold=-1"));
        scenarios.put("parameters, simple protocol", (o, seen) -> parameters(o, seen, "preferQueryMode=simple"));
        scenarios.put("parameters, extendedForPrepared",
            (o, seen) -> parameters(o, seen, "preferQueryMode=extendedForPrepared"));
        scenarios.put("parameters, extendedCacheEverything",
            (o, seen) -> parameters(o, seen, "preferQueryMode=extendedCacheEverything"));
        scenarios.put("described parameters", Drivers::describedParameters);
        scenarios.put("prepared past a change of the table", Drivers::preparedPastChange);
        scenarios.put("200 prepared statements in a cache of 20", Drivers::twoHundredStatements);
        scenarios.put("setFetchSize", Drivers::fetchSize);
        scenarios.put("scrollable and updatable results", Drivers::scrollable);
        scenarios.put("batch", (o, seen) -> batch(o, seen));
        scenarios.put("batch, rewritten", (o, seen) -> batch(o, seen, "reWriteBatchedInserts=true"));
        scenarios.put("several results", (o, seen) -> severalResults(o, seen));
        scenarios.put("several results, simple protocol",
            (o, seen) -> severalResults(o, seen, "preferQueryMode=simple"));
        scenarios.put("callable statements", Drivers::callable);
        scenarios.put("errors and savepoints", (o, seen) -> errorsAndSavepoints(o, seen));
        scenarios.put("errors with autosave=always", (o, seen) -> errorsAndSavepoints(o, seen, "autosave=always"));
        scenarios.put("errors with autosave=always, prepared at once",
            (o, seen) -> errorsAndSavepoints(o, seen, "autosave=always", "prepareThreshold=1"));
        scenarios.put("errors with autosave=conservative",
            (o, seen) -> errorsAndSavepoints(o, seen, "autosave=conservative"));
        scenarios.put("CopyManager", Drivers::copy);
        scenarios.put("large objects", Drivers::largeObjects);
        scenarios.put("large values", Drivers::largeValues);
        scenarios.put("cancel", Drivers::cancel);
        scenarios.put("setQueryTimeout", Drivers::queryTimeout);
        scenarios.put("notices", Drivers::notices);
        scenarios.put("LISTEN and NOTIFY", Drivers::notifications);
        scenarios.put("metadata", Drivers::metadata);
        scenarios.put("a terminated server process", Drivers::terminated);
        scenarios.put("refused logins", Drivers::refused);
        scenarios.put("session settings", Drivers::settings);
    }

    // ---- the vendor's page "Synchronizing Hudi Tasks"

    /** The small Hudi table and what pgveneer has made of it. */
    record Lake(String firstCommit, String writer, String folder) {
        /** One more commit with this row; its instant. */
        String commit(long id) throws Exception {
            Process p = new ProcessBuilder(writer, "upsert", folder, "--sql",
                "SELECT " + id + "::BIGINT AS id, 'row " + id + "' AS name").redirectErrorStream(true).start();
            String out = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8).trim();
            if (p.waitFor() != 0)
                throw new Exception(out);
            return out;
        }
    }

    static Lake lake;

    static void expect(Object got, Object want, String what) throws Exception {
        if (!Objects.equals(got, want))
            throw new Exception(what + ": got " + got + ", want " + want);
    }

    /** The only value of a query, after the name of its column was checked. */
    static Object one(Connection c, String text, Object... params) throws Exception {
        try (PreparedStatement s = c.prepareStatement(text)) {
            for (int i = 0; i < params.length; i++)
                s.setObject(i + 1, params[i]);
            ResultSet rs = s.executeQuery();
            String name = text.replaceAll("^SELECT (pg_catalog\\.)?(\\w+)\\(.*$", "$2");
            if (!name.equals(text) && !text.contains(" AS "))
                expect(rs.getMetaData().getColumnName(1), name, "name of the column");
            expect(rs.next(), true, "a row of " + text);
            return rs.getObject(1);
        }
    }

    static void waitFor(Connection c, String table, long rows) throws Exception {
        for (int i = 0; i < 600; i++) {
            if (one(c, "SELECT count(*) AS n FROM " + table).equals(rows))
                return;
            TimeUnit.MILLISECONDS.sleep(50);
        }
        try (Connection look = c) {
            List<Object> seen = new ArrayList<>();
            query(seen, look, "SELECT * FROM pg_task_show('SQLonHudi')");
            throw new Exception("no " + rows + " rows in " + table + " within 30 s; " + seen);
        }
    }

    static void refuse(Connection c, String sqlState, String text, Object... params) throws Exception {
        try {
            one(c, text, params);
        } catch (SQLException e) {
            expect(e.getSQLState(), sqlState, text);
            return;
        }
        throw new Exception("no error from " + text);
    }

    static void page(Opener o, List<Object> seen, String... options) throws Exception {
        String target = "public.in_rel";
        String source = "public.hudi_read1";
        try (Connection c = o.open(options)) {
            sql(c, "TRUNCATE public.in_rel, public.in_cdl",
                "INSERT INTO public.in_cdl SELECT i, 'from CDL' FROM generate_series(1, 5) i");
            if (one(c, "SELECT to_regclass('hudi.hudi_sync_state') AS t") == null)
                one(c, "SELECT pg_catalog.create_hudi_sync_table()");
            refuse(c, "42P07", "SELECT create_hudi_sync_table()");
            // Migration
            expect(one(c, "SELECT hudi_set_sync_commit(?, ?, ?)", "public.in_cdl", source, lake.firstCommit()),
                lake.firstCommit(), "hudi_set_sync_commit");
            Object cdl = one(c, "SELECT hudi_sync_task_submit(?, ?)", "public.in_cdl", source);
            // Creation
            one(c, "SELECT hudi_set_sync_commit(?, ?, ?)", target, source, "");
            Object task = one(c, "SELECT hudi_sync_task_submit(?, ?, ?::interval)", target, source, "5 seconds");
            while ((Long) one(c, "SELECT count(*) AS n FROM hudi_sync_state_history_view WHERE task_id = ?", task) < 1)
                TimeUnit.MILLISECONDS.sleep(50);
            long rows = (Long) one(c, "SELECT count(*) AS n FROM public.in_rel");
            waitFor(c, "public.in_cdl", rows);
            expect(one(c, "SELECT count(*) AS n FROM public.in_cdl WHERE name = ?", "from CDL"), 5L, "rows of CDL");
            expect(one(c, "SELECT pg_task_remove(?)", cdl), 1, "pg_task_remove");
            // Querying, past the prepare threshold; Suspending; Resuming
            for (int i = 0; i < 12; i++)
                expect(one(c, "SELECT task_id FROM pg_task_show(?) WHERE failure_times = ?", "SQLonHudi", 0), task, "task");
            query(seen, c, "SELECT category_id, is_broken, \"interval\", last_log FROM pg_task_show(?)", "SQLonHudi");
            expect(one(c, "SELECT pg_task_reset_interval(?, ?)", task, "6 seconds"), 1, "pg_task_reset_interval");
            for (int i = 0; i < 8; i++) {
                expect(one(c, "SELECT pg_task_resume(?)", task), 1, "pg_task_resume");
                expect(one(c, "SELECT pg_task_pause(?)", task), 1, "pg_task_pause");
            }
            String second = lake.commit(rows + 1);
            expect(one(c, "SELECT pg_task_resume(?)", task), 1, "pg_task_resume");
            waitFor(c, target, rows + 1);
            // Past synchronisation, status
            c.setAutoCommit(false);
            try (PreparedStatement s = c.prepareStatement("SELECT latest_commit, latest_sync_count, latest_sync_start,"
                     + " latest_sync_end, target_tbl, source_ftbl FROM pg_catalog.hudi_sync_state_history_view"
                     + " WHERE task_id = ? ORDER BY latest_sync_start")) {
                s.setFetchSize(1);
                s.setObject(1, task);
                ResultSet rs = s.executeQuery();
                expect(rs.next(), true, "first row of the history");
                expect(rs.getLong(2), rows, "rows of the first run");
                expect(rs.next(), true, "second row of the history");
                expect(rs.getString(1) + rs.getLong(2), second + "1", "second run");
                expect(rs.getTimestamp(3).after(rs.getTimestamp(4)), false, "start and end");
                expect(rs.next(), false, "third row of the history");
            }
            c.commit();
            c.setAutoCommit(true);
            expect(one(c, "SELECT latest_commit FROM hudi_show_sync_state() WHERE target_tbl = ?", target), second, "state");
            // Errors; then deleting, in a transaction that is rolled back, and for good
            refuse(c, "42704", "SELECT pg_task_pause(?)", "64479410-a04c-0700-d150-3037d700fffe");
            refuse(c, "42710", "SELECT hudi_sync_task_submit(?, ?)", target, source);
            c.setAutoCommit(false);
            one(c, "SELECT pg_task_remove(?)", task);
            c.rollback();
            expect(one(c, "SELECT count(*) AS n FROM pg_task_show(?)", "SQLonHudi"), 1L, "after the rollback");
            c.setAutoCommit(true);
            expect(one(c, "SELECT pg_task_remove(?)", task), 1, "pg_task_remove");
            for (Object[] more : new Object[][] {{target, source, "id, name", "id, name"},
                     {target, source, "id, name", "id, name", "1 hour"}}) {
                task = one(c, "SELECT hudi_sync_task_submit(?, ?" + ", ?".repeat(more.length - 2) + ")", more);
                if (Arrays.asList(options).contains("preferQueryMode=simple")) { // it cannot do OUT parameters
                    expect(one(c, "SELECT pg_task_remove(?)", task), 1, "pg_task_remove");
                    continue;
                }
                try (CallableStatement call = c.prepareCall("{? = call pg_task_remove(?)}")) {
                    call.registerOutParameter(1, Types.INTEGER);
                    call.setObject(2, task);
                    call.execute();
                    expect(call.getInt(1), 1, "{? = call pg_task_remove(?)}");
                }
            }
        }
    }

    /** The foreign table in queries, and functions that look into the store. */
    static void reading(Opener o, List<Object> seen, String... options) throws Exception {
        String target = "public.in_rel";
        String source = "public.hudi_read1";
        try (Connection c = o.open(options)) {
            Object newest = null;
            for (int i = 0; i < 7; i++) // past the prepare threshold
                newest = one(c, "SELECT max_commit AS m FROM hudi_get_max_commit(?)", source);
            Object rows = one(c, "SELECT count(*) AS n FROM hudi_read1 WHERE id > ?", 0L);
            for (int i = 0; i < 7; i++)
                expect(one(c, "SELECT count(*) AS n FROM hudi_read1 h JOIN generate_series(1, ?) g ON g = h.id", 3), 3L, "join");
            sql(c, "TRUNCATE public.in_rel");
            one(c, "SELECT hudi_set_sync_commit(?, ?, ?)", target, source, "");
            expect(one(c, "SELECT hudi_sync(?, ?)", target, source), "sync " + rows + " rows up to " + newest + ".", "hudi_sync");
            expect(one(c, "CALL hudi_sync(?, ?)", target, source), "sync 0 rows up to " + newest + ".", "CALL hudi_sync");
            c.setAutoCommit(false);
            refuse(c, "25001", "SELECT hudi_sync(?, ?)", target, source);
            c.rollback();
            try (PreparedStatement s = c.prepareStatement("SELECT id, name FROM hudi_read1 ORDER BY id")) {
                s.setFetchSize(2);
                ResultSet rs = s.executeQuery();
                long n = 0;
                while (rs.next())
                    expect(rs.getString(2), "row " + ++n, "row of a cursor");
                expect(n, rows, "rows of a cursor");
            }
            c.rollback();
            seen.add("read");
        }
    }

    static void copyOfTasks(Opener o, List<Object> seen) throws Exception {
        try (Connection c = o.open()) {
            CopyManager m = c.unwrap(PGConnection.class).getCopyAPI();
            seen.add(m.copyOut("COPY (SELECT task_id FROM pg_task_show('SQLonHudi')) TO STDOUT", new StringWriter()));
            c.setAutoCommit(false);
            try (Statement s = c.createStatement()) {
                s.addBatch("SELECT 1");
                s.addBatch("INSERT INTO public.in_rel SELECT -1, task_id FROM pg_task_show('SQLonHudi')");
                s.executeBatch();
            } catch (BatchUpdateException e) {
                seen.add(e.getUpdateCounts().length); // a batch has no results
            }
            c.rollback();
        }
    }

    static void listSeed() {
        scenarios.put("the vendor's page", (o, seen) -> page(o, seen));
        scenarios.put("the vendor's page, prepared and binary at once", (o, seen) -> page(o, seen, "prepareThreshold=-1"));
        scenarios.put("the vendor's page, autosave=always", (o, seen) -> page(o, seen, "autosave=always", "prepareThreshold=1"));
        scenarios.put("the vendor's page, simple protocol", (o, seen) -> page(o, seen, "preferQueryMode=simple"));
        scenarios.put("the vendor's page, extendedCacheEverything",
            (o, seen) -> page(o, seen, "preferQueryMode=extendedCacheEverything"));
        scenarios.put("SELECT on the foreign table, functions", (o, seen) -> reading(o, seen));
        scenarios.put("SELECT on the foreign table, binary at once", (o, seen) -> reading(o, seen, "prepareThreshold=-1"));
        scenarios.put("SELECT on the foreign table, simple protocol", (o, seen) -> reading(o, seen, "preferQueryMode=simple"));
        scenarios.put("COPY and a batch with vendor calls", Drivers::copyOfTasks);
    }

    static String difference(List<Object> direct, List<Object> proxied) {
        for (int i = 0; i < Math.max(direct.size(), proxied.size()); i++) {
            Object a = i < direct.size() ? direct.get(i) : "nothing";
            Object b = i < proxied.size() ? proxied.get(i) : "nothing";
            if (!a.equals(b))
                return "saw " + b + "\n     instead of " + a;
        }
        return direct.isEmpty() ? "saw nothing at all" : null;
    }

    public static void main(String[] args) {
        int passed = 0;
        TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
        boolean isSeed = args[0].equals("seed");
        if (isSeed) {
            lake = new Lake(args[2], args[3], args[4]);
            listSeed();
        } else {
            list();
        }
        for (var entry : scenarios.entrySet()) {
            long start = System.nanoTime();
            String problem;
            try {
                List<Object> direct = new ArrayList<>();
                List<Object> proxied = new ArrayList<>();
                if (!isSeed)
                    entry.getValue().run(new Opener(args[0]), direct);
                entry.getValue().run(new Opener(args[1]), proxied);
                problem = isSeed ? null : difference(direct, proxied);
            } catch (Exception e) {
                StackTraceElement at = Arrays.stream(e.getStackTrace())
                                           .filter(f -> f.getClassName().startsWith("Drivers"))
                                           .findFirst()
                                           .orElse(null);
                problem = e + "\n     at " + at;
            }
            passed += problem == null ? 1 : 0;
            if (problem == null)
                System.out.printf("ok   pgjdbc: %s (%.2f s)%n", entry.getKey(), (System.nanoTime() - start) / 1e9);
            else
                System.out.printf("FAIL pgjdbc: %s%n     %s%n", entry.getKey(), problem);
            System.out.flush();
        }
        System.out.printf("pgjdbc: %d of %d scenarios passed%n", passed, scenarios.size());
        System.exit(passed == scenarios.size() ? 0 : 1);
    }
}
