//go:build libpq

package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/lib/pq"
)

var background = context.Background()

func open(more string) *sql.Conn {
	db := must(sql.Open("postgres", home(more)))
	return must(db.Conn(background))
}

func all(rows *sql.Rows, err error) [][]any {
	check(err)
	defer rows.Close()
	seen := [][]any{}
	names := must(rows.Columns())
	for rows.Next() {
		values, places := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			places[i] = &values[i]
		}
		check(rows.Scan(places...))
		seen = append(seen, values)
	}
	check(rows.Err())
	return seen
}

func exec(c interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, query string, values ...any) {
	must(c.ExecContext(background, query, values...))
}

func errorOf(err error) []string {
	e, isServers := err.(*pq.Error)
	if !isServers {
		panic(fmt.Sprintf("no server error: %v", err))
	}
	return []string{string(e.Code), e.Message, e.Detail}
}

func query(c *sql.Conn, text string, values ...any) [][]any {
	return all(c.QueryContext(background, text, values...))
}

var scenarios = map[string]scenario{
	"connect": func() (any, error) {
		return query(open("&application_name=matrix&geqo=off"), "SELECT current_setting('application_name'), current_setting('geqo'), current_user::text"), nil
	},
	"parameters": func() (any, error) {
		return query(open(""), "SELECT $1::int, $2::int8, $3::text, $4::text, $5::bytea, $6::float8, $7::bool, $8::int[]",
			1, int64(-1<<62), "text with 'quotes' \\ ü€😀", nil, []byte{0, 255}, 1.5, true, pq.Array([]int64{1, 3})), nil
	},
	"binary": func() (any, error) {
		return query(open("&binary_parameters=yes"), "SELECT $1::bytea, $2::text, length($1::bytea)", []byte{0, 255}, "x"), nil
	},
	"prepared": func() (any, error) {
		c, seen := open(""), []any{}
		st := must(c.PrepareContext(background, "SELECT $1::int + 1"))
		for i := 0; i < 10; i++ {
			seen = append(seen, all(st.Query(i)))
		}
		return seen, st.Close()
	},
	"portals": func() (any, error) { return nil, notApplicable{"lib/pq has no row-limited portals"} },
	"batch":   func() (any, error) { return query(open(""), "SELECT 1; SELECT 2"), nil },
	"pipeline": func() (any, error) {
		return nil, notApplicable{"lib/pq waits for each answer"}
	},
	"copy_in": func() (any, error) {
		c := open("")
		exec(c, "CREATE TEMP TABLE c (id int8, name text)")
		tx := must(c.BeginTx(background, nil))
		st := must(tx.Prepare(pq.CopyIn("c", "id", "name")))
		for i := 0; i < 2000; i++ {
			must(st.Exec(i, fmt.Sprint("name ", i)))
		}
		must(st.Exec())
		check(st.Close())
		check(tx.Commit())
		return query(c, "SELECT count(*), max(name) FROM c"), nil
	},
	"copy_out": func() (any, error) { return nil, notApplicable{"lib/pq has no COPY TO"} },
	"cancel": func() (any, error) {
		c, other := open(""), open("")
		pid := query(c, "SELECT pg_backend_pid()")[0][0]
		stoppable, stop := context.WithCancel(background)
		go func() {
			until("the statement sleeps", func() bool { return query(other, sleeps(pid))[0][0].(int64) == 1 })
			stop()
		}()
		_, err := c.ExecContext(stoppable, "SELECT pg_sleep(60)")
		return err.Error(), nil
	},
	"timeout": func() (any, error) {
		_, err := open("&statement_timeout=100").ExecContext(background, "SELECT pg_sleep(60)")
		return errorOf(err), nil
	},
	"notices": func() (any, error) {
		connector, seen := must(pq.NewConnector(home(""))), []string{}
		db := sql.OpenDB(pq.ConnectorWithNoticeHandler(connector, func(e *pq.Error) {
			seen = append(seen, e.Severity, string(e.Code), e.Message, e.Hint)
		}))
		_, err := db.Exec("DO $$ BEGIN RAISE WARNING 'two' USING HINT = 'h', ERRCODE = '01234'; END $$")
		return seen, err
	},
	"listen": func() (any, error) {
		l := pq.NewListener(home(""), time.Second, time.Minute, nil)
		check(l.Listen("news"))
		exec(open(""), "SELECT pg_notify('news', $1)", "payload")
		n := <-l.Notify
		return []string{n.Channel, n.Extra}, l.Close()
	},
	"large_objects": func() (any, error) {
		c := open("")
		tx := must(c.BeginTx(background, nil))
		oid := all(tx.Query("SELECT lo_from_bytea(0, $1)", bytes.Repeat([]byte("abc"), 10000)))[0][0]
		seen := all(tx.Query("SELECT length(lo_get($1::oid)), lo_get($1::oid, 3, 3)", oid))
		must(tx.Exec("SELECT lo_unlink($1::oid)", oid))
		return seen, tx.Commit()
	},
	"batch_error": func() (any, error) {
		c := open("")
		_, err := c.ExecContext(background, "SELECT 1; SELECT 1/0; SELECT 2")
		return []any{errorOf(err), query(c, "SELECT 'alive'")}, nil
	},
	"transaction": func() (any, error) {
		c := open("")
		exec(c, "CREATE TEMP TABLE t (id int)")
		tx := must(c.BeginTx(background, &sql.TxOptions{Isolation: sql.LevelSerializable}))
		exec(tx, "INSERT INTO t VALUES ($1)", 1)
		_, err := tx.Exec("SELECT 1/$1::int", 0)
		check(tx.Rollback())
		return []any{errorOf(err), query(c, "SELECT count(*) FROM t")}, nil
	},
	"savepoint": func() (any, error) {
		c, seen := open(""), []any{}
		exec(c, "CREATE TEMP TABLE s (id int PRIMARY KEY)")
		tx := must(c.BeginTx(background, nil))
		for _, v := range []int{1, 1, 2} {
			exec(tx, "SAVEPOINT x")
			if _, err := tx.Exec("INSERT INTO s VALUES ($1)", v); err != nil {
				seen = append(seen, errorOf(err)[0])
				exec(tx, "ROLLBACK TO x")
			}
		}
		check(tx.Commit())
		return append(seen, query(c, "SELECT count(*), sum(id) FROM s")), nil
	},
	"large_value": func() (any, error) {
		data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
		row := query(open(""), "SELECT length($1::bytea), $1::bytea", data)[0]
		return []any{row[0], bytes.Equal(data, row[1].([]byte))}, nil
	},
	"vendor_task": func() (any, error) {
		c := open("")
		_, err := c.QueryContext(background, "SELECT pg_task_pause($1)", "no such task")
		return []any{query(c, "SELECT what, failure_times FROM pg_task_show($1)", "SQLonHudi"), errorOf(err)[0]}, nil
	},
	"vendor_cursor": func() (any, error) {
		tx := must(open("").BeginTx(background, nil))
		exec(tx, "DECLARE c1 PARALLEL RETRIEVE CURSOR FOR SELECT * FROM generate_series(1, 10)")
		found := all(tx.Query("SELECT endpoint_name::text, auth_token::text FROM gp_endpoints WHERE cursor_name = $1", "c1"))
		reader := must(must(sql.Open("postgres", url("app", found[0][1].(string), "&gp_session_role=retrieve"))).Conn(background))
		some := query(reader, fmt.Sprintf("RETRIEVE 3 FROM ENDPOINT %s", found[0][0]))
		rest := query(reader, fmt.Sprintf("RETRIEVE ALL FROM ENDPOINT %s", found[0][0]))
		exec(tx, "CHECK PARALLEL RETRIEVE CURSOR c1 NOWAIT")
		exec(tx, "CLOSE c1")
		return []any{len(found), some, len(rest)}, tx.Commit()
	},
	"vendor_rebuild": func() (any, error) {
		c := open("")
		exec(c, "DROP TABLE IF EXISTS matrix_rebuild")
		exec(c, "CREATE TABLE matrix_rebuild (id int PRIMARY KEY)")
		id := query(c, "ASYNC REBUILD TABLE matrix_rebuild ADD COLUMN more text")[0][0]
		until("the table is rebuilt", func() bool {
			status := query(c, "SELECT status FROM hologres.rebuild_progress($1) WHERE step = 'swap'", id)[0][0]
			return status == "done"
		})
		rows := must(c.QueryContext(background, "SELECT * FROM matrix_rebuild"))
		defer rows.Close()
		return must(rows.Columns()), nil
	},
}
