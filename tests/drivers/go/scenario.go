// The Go clients of the matrix: see ../python/scenario.py for the form of the output. Built once with the
// tag pgx (run_pgx.go) and once with libpq (run_libpq.go).
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"
)

type notApplicable struct{ why string }

func (n notApplicable) Error() string { return n.why }

type scenario func() (any, error)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func until(what string, condition func() bool) {
	for i := 0; i < 3000; i++ {
		if condition() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	panic("waited in vain: " + what)
}

func sleeps(pid any) string {
	return fmt.Sprintf("SELECT count(*)::int FROM pg_stat_activity WHERE pid = %v AND wait_event = 'PgSleep'", pid)
}

func url(user, password, more string) string {
	return fmt.Sprintf("postgres://%s:%s@%s:%s/%s?sslmode=disable%s", user, password, os.Getenv("PGHOST"),
		os.Getenv("PGPORT"), os.Getenv("PGDATABASE"), more)
}

func home(more string) string {
	return url(os.Getenv("PGUSER"), os.Getenv("PGPASSWORD"), more)
}

func run(f scenario) (saw any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v\n%s", r, debug.Stack())
		}
	}()
	return f()
}

func main() {
	os.Unsetenv("PGSSLMODE") // lib/pq refuses the file settings that libpq's variables may bring
	for _, name := range os.Args[1:] {
		line := map[string]any{"scenario": name}
		f, known := scenarios[name]
		if !known {
			line["na"] = "no such interface in this client"
		} else if saw, err := run(f); err == nil {
			line["saw"] = saw
		} else if n := (notApplicable{}); errors.As(err, &n) {
			line["na"] = n.why
		} else {
			line["failed"] = err.Error()
		}
		fmt.Println(string(must(json.Marshal(line))))
	}
}
