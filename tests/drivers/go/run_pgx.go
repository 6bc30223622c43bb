//go:build pgx

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var background = context.Background()

func open(more string) *pgx.Conn { return must(pgx.Connect(background, home(more))) }

func all(rows pgx.Rows, err error) [][]any {
	check(err)
	return must(pgx.CollectRows(rows, func(r pgx.CollectableRow) ([]any, error) { return r.Values() }))
}

func errorOf(err error) []string {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		panic(fmt.Sprintf("no server error: %v", err))
	}
	return []string{e.Code, e.Message, e.Detail}
}

var scenarios = map[string]scenario{
	"connect": func() (any, error) {
		c := open("&application_name=matrix&geqo=off")
		return []any{all(c.Query(background, "SELECT current_setting('application_name'), current_setting('geqo'), current_user")),
			c.PgConn().ParameterStatus("server_version")}, nil
	},
	"parameters": func() (any, error) {
		return all(open("").Query(background, "SELECT $1::int, $2::int8, $3::text, $4::text, $5::bytea, $6::float8, $7::bool, $8::int[]",
			1, int64(-1<<62), "text with 'quotes' \\ ü€😀", nil, []byte{0, 255}, 1.5, true, []int32{1, 3})), nil
	},
	"binary": func() (any, error) {
		seen := []any{}
		for _, format := range []int16{pgx.BinaryFormatCode, pgx.TextFormatCode} {
			seen = append(seen, all(open("").Query(background, "SELECT 7, 'text', 1.5::float8, true, '2024-02-29'::date, '{1,2}'::int[]",
				pgx.QueryResultFormats{format})))
		}
		return seen, nil
	},
	"prepared": func() (any, error) {
		c, seen := open(""), []any{}
		for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
			d := open("&default_query_exec_mode=" + mode)
			for i := 0; i < 10; i++ {
				seen = append(seen, all(d.Query(background, "SELECT $1::int + 1", i)))
			}
			seen = append(seen, all(d.Query(background, "SELECT count(*)::int FROM pg_prepared_statements")))
		}
		check(func() error { _, err := c.Prepare(background, "named", "SELECT $1::text"); return err }())
		seen = append(seen, all(c.Query(background, "named", "x")))
		return seen, c.Deallocate(background, "named")
	},
	"portals": func() (any, error) {
		p, seen := open("").PgConn(), []any{}
		result := p.ExecParams(background, "SELECT i FROM generate_series(1, $1::int) i", [][]byte{[]byte("10")}, nil, nil, nil).Read()
		seen = append(seen, len(result.Rows), result.CommandTag.String())
		tx := must(open("").Begin(background))
		must(tx.Exec(background, "DECLARE c CURSOR FOR SELECT i FROM generate_series(1, 10) i"))
		seen = append(seen, all(tx.Query(background, "FETCH 3 FROM c")), all(tx.Query(background, "FETCH ALL FROM c")))
		return seen, tx.Commit(background)
	},
	"batch": func() (any, error) {
		c, b := open(""), &pgx.Batch{}
		b.Queue("CREATE TEMP TABLE b (id int)")
		results := c.SendBatch(background, b)
		check(results.Close())
		b = &pgx.Batch{}
		for i := 0; i < 300; i++ {
			b.Queue("INSERT INTO b VALUES ($1)", i)
		}
		b.Queue("SELECT count(*), sum(id) FROM b")
		results = c.SendBatch(background, b)
		for i := 0; i < 300; i++ {
			must(results.Exec())
		}
		seen := all(results.Query())
		return seen, results.Close()
	},
	"pipeline": func() (any, error) {
		p := open("").PgConn().StartPipeline(background)
		for i := 0; i < 50; i++ {
			p.SendQueryParams("SELECT 1/($1::int - 25)", [][]byte{[]byte(fmt.Sprint(i))}, nil, nil, nil)
			if i%10 == 9 {
				check(p.Sync())
			}
		}
		check(p.Sync())
		ok, failed := 0, []string{}
		for results := any(nil); ; {
			var err error
			if results, err = p.GetResults(); err != nil {
				failed = append(failed, errorOf(err)[0])
			} else if r, isReader := results.(*pgconn.ResultReader); isReader {
				if _, err := r.Close(); err != nil {
					failed = append(failed, errorOf(err)[0])
				} else {
					ok++
				}
			} else if results == nil {
				break
			}
		}
		return []any{ok, failed}, p.Close()
	},
	"copy_in": func() (any, error) {
		c := open("")
		must(c.Exec(background, "CREATE TEMP TABLE c (id int8, name text)"))
		n := must(c.CopyFrom(background, pgx.Identifier{"c"}, []string{"id", "name"},
			pgx.CopyFromSlice(2000, func(i int) ([]any, error) { return []any{int64(i), fmt.Sprint("name ", i)}, nil })))
		_, err := c.PgConn().CopyFrom(background, strings.NewReader("nonsense\n"), "COPY c FROM STDIN")
		return []any{n, errorOf(err), all(c.Query(background, "SELECT count(*), max(name) FROM c"))}, nil
	},
	"copy_out": func() (any, error) {
		var out bytes.Buffer
		tag := must(open("").PgConn().CopyTo(background, &out, "COPY (SELECT i, 'x' || i FROM generate_series(1, 5000) i) TO STDOUT"))
		return []any{tag.String(), out.Len()}, nil
	},
	"cancel": func() (any, error) {
		c, other, done := open(""), open(""), make(chan error)
		go func() { _, err := c.Exec(background, "SELECT pg_sleep(60)"); done <- err }()
		until("the statement sleeps", func() bool {
			return all(other.Query(background, sleeps(c.PgConn().PID())))[0][0].(int32) == 1
		})
		check(c.PgConn().CancelRequest(background))
		return []any{errorOf(<-done), all(c.Query(background, "SELECT 'alive'"))}, nil
	},
	"timeout": func() (any, error) {
		_, err := open("&statement_timeout=100").Exec(background, "SELECT pg_sleep(60)")
		return errorOf(err), nil
	},
	"notices": func() (any, error) {
		config, seen := must(pgx.ParseConfig(home(""))), []any{}
		config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { seen = append(seen, n.Severity, n.Code, n.Message, n.Hint) }
		_, err := must(pgx.ConnectConfig(background, config)).Exec(background,
			"DO $$ BEGIN RAISE WARNING 'two' USING HINT = 'h', ERRCODE = '01234'; END $$")
		return seen, err
	},
	"listen": func() (any, error) {
		c := open("")
		must(c.Exec(background, "LISTEN news"))
		must(open("").Exec(background, "SELECT pg_notify('news', $1)", "payload"))
		n := must(c.WaitForNotification(background))
		return []string{n.Channel, n.Payload}, nil
	},
	"large_objects": func() (any, error) {
		tx := must(open("").Begin(background))
		objects := tx.LargeObjects()
		oid := must(objects.Create(background, 0))
		lo := must(objects.Open(background, oid, pgx.LargeObjectModeWrite|pgx.LargeObjectModeRead))
		must(lo.Write(bytes.Repeat([]byte("abc"), 10000)))
		must(lo.Seek(3, 0))
		piece := make([]byte, 3)
		must(lo.Read(piece))
		check(objects.Unlink(background, oid))
		return string(piece), tx.Commit(background)
	},
	"batch_error": func() (any, error) {
		c, b := open(""), &pgx.Batch{}
		must(c.Exec(background, "CREATE TEMP TABLE e (id int PRIMARY KEY)"))
		for _, v := range []int{1, 2, 1, 3} {
			b.Queue("INSERT INTO e VALUES ($1)", v)
		}
		return []any{errorOf(c.SendBatch(background, b).Close()), all(c.Query(background, "SELECT count(*) FROM e"))}, nil
	},
	"transaction": func() (any, error) {
		c := open("")
		must(c.Exec(background, "CREATE TEMP TABLE t (id int)"))
		err := pgx.BeginTxFunc(background, c, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(tx pgx.Tx) error {
			must(tx.Exec(background, "INSERT INTO t VALUES ($1)", 1))
			_, err := tx.Exec(background, "SELECT 1/$1::int", 0)
			return err
		})
		return []any{errorOf(err), all(c.Query(background, "SELECT count(*) FROM t"))}, nil
	},
	"savepoint": func() (any, error) {
		c, seen := open(""), []any{}
		must(c.Exec(background, "CREATE TEMP TABLE s (id int PRIMARY KEY)"))
		tx := must(c.Begin(background))
		for _, v := range []int{1, 1, 2} {
			inner := must(tx.Begin(background))
			if _, err := inner.Exec(background, "INSERT INTO s VALUES ($1)", v); err != nil {
				seen = append(seen, errorOf(err)[0])
				check(inner.Rollback(background))
			} else {
				check(inner.Commit(background))
			}
		}
		check(tx.Commit(background))
		return append(seen, all(c.Query(background, "SELECT array_agg(id) FROM s"))), nil
	},
	"large_value": func() (any, error) {
		data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
		row := all(open("").Query(background, "SELECT length($1::bytea), $1::bytea", data))[0]
		return []any{row[0], bytes.Equal(data, row[1].([]byte))}, nil
	},
	"vendor_task": func() (any, error) {
		c := open("")
		_, err := c.Exec(background, "SELECT pg_task_pause($1)", "no such task")
		return []any{all(c.Query(background, "SELECT what, failure_times FROM pg_task_show($1)", "SQLonHudi")), errorOf(err)[0]}, nil
	},
	"vendor_cursor": func() (any, error) {
		tx := must(open("").Begin(background))
		must(tx.Exec(background, "DECLARE c1 PARALLEL RETRIEVE CURSOR FOR SELECT * FROM generate_series(1, 10)"))
		found := all(tx.Query(background, "SELECT endpoint_name, auth_token FROM gp_endpoints WHERE cursor_name = $1", "c1"))
		reader := must(pgx.Connect(background, url("app", found[0][1].(string), "&gp_session_role=retrieve")))
		some := all(reader.Query(background, fmt.Sprintf("RETRIEVE 3 FROM ENDPOINT %s", found[0][0])))
		rest := all(reader.Query(background, fmt.Sprintf("RETRIEVE ALL FROM ENDPOINT %s", found[0][0])))
		tag := must(tx.Exec(background, "CHECK PARALLEL RETRIEVE CURSOR c1 NOWAIT"))
		must(tx.Exec(background, "CLOSE c1"))
		return []any{len(found), some, len(rest), tag.String()}, tx.Commit(background)
	},
	"vendor_rebuild": func() (any, error) {
		c := open("")
		must(c.Exec(background, "DROP TABLE IF EXISTS matrix_rebuild"))
		must(c.Exec(background, "CREATE TABLE matrix_rebuild (id int PRIMARY KEY)"))
		id := all(c.Query(background, "ASYNC REBUILD TABLE matrix_rebuild ADD COLUMN more text"))[0][0]
		until("the table is rebuilt", func() bool {
			return all(c.Query(background, "SELECT status FROM hologres.rebuild_progress($1) WHERE step = 'swap'", id))[0][0] == "done"
		})
		rows := must(c.Query(background, "SELECT * FROM matrix_rebuild", pgx.QueryExecModeDescribeExec))
		defer rows.Close()
		return []any{rows.FieldDescriptions()[0].Name, rows.FieldDescriptions()[1].Name}, nil
	},
}
