/* Counters: sums of the sets, and the text that Prometheus reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "metrics.h"

static const char *text_of(struct buf *b)
{
    const char *text = buf_cstr(b);
    assert_non_null(text);
    return text;
}

static void test_sums(void **state)
{
    (void)state;
    static struct metrics a, b;
    const struct metrics *sets[] = {&a, &b};
    struct buf out;
    buf_init(&out, 1 << 20);
    metrics_add(&a, METRIC_CLIENTS, 2);
    metrics_add(&b, METRIC_CLIENTS, 3);
    metrics_add(&b, METRIC_TO_SERVER, 1234567890123);
    assert_int_equal(metrics_get(&a, METRIC_CLIENTS), 2);
    metrics_put(&out, sets, 2);
    const char *text = text_of(&out);
    assert_non_null(strstr(text, "# HELP pgveneer_clients_accepted_total Clients that connected.\n"
                                 "# TYPE pgveneer_clients_accepted_total counter\n"
                                 "pgveneer_clients_accepted_total 5\n"));
    assert_non_null(
        strstr(text, "pgveneer_bytes_total{leg=\"server\",direction=\"sent\"} 1234567890123\n"));
    buf_fini(&out);
}

/* A name has one head, however many rows it has. */
static void test_heads(void **state)
{
    (void)state;
    static struct metrics m;
    const struct metrics *sets[] = {&m};
    struct buf out;
    buf_init(&out, 1 << 20);
    metrics_put(&out, sets, 1);
    size_t heads = 0;
    const char *text = text_of(&out);
    for (const char *p = strstr(text, "# TYPE pgveneer_bytes_total"); p != NULL;
         p = strstr(p + 1, "# TYPE pgveneer_bytes_total"))
        heads++;
    assert_int_equal(heads, 1);
    assert_null(strstr(text, "# HELP pgveneer_bytes_total \n"));
    buf_fini(&out);
}

static void test_escapes(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1 << 20);
    metrics_put_label(&out, "a\"b\\c\nd");
    assert_string_equal(text_of(&out), "a\\\"b\\\\c\\nd");
    buf_clear(&out);
    metrics_put_head(&out, "n", "gauge", "a\\b\nc");
    assert_string_equal(text_of(&out), "# HELP n a\\\\b\\nc\n# TYPE n gauge\n");
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sums), cmocka_unit_test(test_heads),
                                       cmocka_unit_test(test_escapes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
