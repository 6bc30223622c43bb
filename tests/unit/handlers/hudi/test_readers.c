/* Readers without DuckDB: a query is "n", a result of n chunks of one row; a row is encoded as its query's
 * number. Each row arrives once; the first error of a reader, of the sender or of a session that does not open ends all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "readers.h"

#define QUERIES 40
#define ROW_BYTES 1000 /* some rows fill a buffer */

/* ---- stand-ins ---- */

struct duck {
    bool (*must_stop)(void *arg);
    void *arg;
};

struct duck_result {
    struct duck *d;
    int query, left;
    struct duck_chunk chunk;
};

struct encoder {
    int unused;
};

static int fails_at = -1;      /* this query, in its middle */
static int opens_until = 1000; /* sessions */

bool duck_open_beside(struct duck *d, bool (*must_stop)(void *arg), void *arg, struct duck **out,
                      struct err *err)
{
    (void)d;
    if (opens_until-- <= 0)
        return err_set(err, SQLSTATE_INTERNAL_ERROR, "no more sessions");
    *out = calloc(1, sizeof **out);
    assert_non_null(*out);
    **out = (struct duck){must_stop, arg};
    return true;
}

void duck_close(struct duck *d)
{
    free(d);
}

bool duck_query(struct duck *d, const char *sql, struct duck_result **out, struct err *err)
{
    (void)err;
    *out = calloc(1, sizeof **out);
    assert_non_null(*out);
    (*out)->d = d;
    assert_int_equal(2, sscanf(sql, "%d:%d", &(*out)->query, &(*out)->left));
    (*out)->chunk.rows = 1;
    return true;
}

bool duck_next(struct duck_result *r, const struct duck_chunk **chunk, struct err *err)
{
    *chunk = NULL;
    if (r->d->must_stop(r->d->arg))
        return err_set(err, SQLSTATE_QUERY_CANCELED, "stopped");
    if (r->query == fails_at && r->left == 1)
        return err_set(err, SQLSTATE_DATA_CORRUPTED, "query %d is damaged", r->query);
    if (r->left-- == 0)
        return true;
    r->chunk.columns = (size_t)r->query; /* for encoder_put */
    *chunk = &r->chunk;
    return true;
}

void duck_result_free(struct duck_result *r)
{
    free(r);
}

bool encoder_new(const struct columns *cols, enum columns_part part, const struct duck_chunk *chunk,
                 struct encoder **out, struct err *err)
{
    (void)cols, (void)part, (void)chunk, (void)err;
    *out = calloc(1, sizeof **out);
    return *out != NULL;
}

void encoder_free(struct encoder *e)
{
    free(e);
}

bool encoder_put(struct encoder *e, const struct duck_chunk *chunk, struct buf *b, struct err *err)
{
    char row[ROW_BYTES] = {0};
    (void)e, (void)err;
    row[0] = (char)chunk->columns;
    return buf_append(b, row, sizeof row);
}

/* ---- tests ---- */

struct received {
    int rows[QUERIES];
    int sends;
    int fails_at; /* this call fails */
};

static bool receive(void *arg, struct slice rows, struct err *err)
{
    struct received *r = arg;
    assert_int_equal(0, rows.len % ROW_BYTES);
    if (r->sends++ == r->fails_at)
        return err_set(err, SQLSTATE_UNIQUE_VIOLATION, "a key came twice");
    for (size_t i = 0; i < rows.len; i += ROW_BYTES)
        r->rows[(unsigned char)rows.data[i]]++;
    return true;
}

/* Query i has i * 37 % 700 rows; 0 for some. */
static bool run(unsigned readers, struct received *r, struct readers_work *w, struct err *err)
{
    static char texts[QUERIES][32];
    static const char *queries[QUERIES];
    for (int i = 0; i < QUERIES; i++) {
        snprintf(texts[i], sizeof texts[i], "%d:%d", i, i * 37 % 700);
        queries[i] = texts[i];
    }
    *w = (struct readers_work){
        .queries = queries, .count = QUERIES, .readers = readers, .send = receive, .arg = r};
    return readers_run(w, err);
}

static void test_each_row_once(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 8; n++) {
        struct received r = {.fails_at = -1};
        struct readers_work w;
        struct err err;
        size_t queries = 0;
        assert_true(run(n, &r, &w, &err));
        for (int i = 0; i < QUERIES; i++)
            assert_int_equal(i * 37 % 700, r.rows[i]);
        for (unsigned i = 0; i < n; i++) {
            assert_true(w.done[i].queries > 0);
            queries += w.done[i].queries;
        }
        assert_int_equal(QUERIES, queries);
    }
}

static void test_reader_fails(void **state)
{
    (void)state;
    for (fails_at = 1; fails_at < QUERIES; fails_at += 6) {
        struct received r = {.fails_at = -1};
        struct readers_work w;
        struct err err;
        assert_false(run(3, &r, &w, &err));
        assert_string_equal(SQLSTATE_DATA_CORRUPTED, err.sqlstate);
    }
    fails_at = -1;
}

static void test_sender_fails(void **state)
{
    (void)state;
    for (int at = 0; at < 5; at++) {
        struct received r = {.fails_at = at};
        struct readers_work w;
        struct err err;
        assert_false(run(3, &r, &w, &err));
        assert_string_equal(SQLSTATE_UNIQUE_VIOLATION, err.sqlstate);
        assert_int_equal(at + 1, r.sends);
    }
}

static void test_session_does_not_open(void **state)
{
    (void)state;
    for (int n = 0; n < 3; n++) {
        struct received r = {.fails_at = -1};
        struct readers_work w;
        struct err err;
        opens_until = n;
        assert_false(run(3, &r, &w, &err));
        assert_string_equal("no more sessions", err.message);
    }
    opens_until = 1000;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_row_once),
        cmocka_unit_test(test_reader_fails),
        cmocka_unit_test(test_sender_fails),
        cmocka_unit_test(test_session_does_not_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
