/* What a statement that is not ours pays at the gate: nanoseconds of CPU time per text, best of
 * several runs, for each scan that the machine has; then the lexer's and the whole inspection's speed.
 * Build and run: ninja -C build bench_prefilter && build/bench_prefilter */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "prefilter.h"
#include "proxy/gate.h"
#include "proxy/lexer.h"

#include "hudi/handler.h"
#include "parallel_cursor/handler.h"
#include "rebuild/handler.h"
#include "task/handler.h"

static const struct handler *const handlers[] = {&task_handler, &hudi_handler, &rebuild_handler,
                                                 &parallel_cursor_handler};
#define MAX_WORDS 200

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Best of 7 runs of about 20 ms. */
static double measure(const struct prefilter *p, struct slice text)
{
    double best = 1e18;
    size_t rounds = 1 + 20000000 / (10 + text.len);
    for (int run = 0; run < 7; run++) {
        size_t hits = 0;
        double start = now_ns();
        for (size_t i = 0; i < rounds; i++)
            hits += prefilter_may_hold(p, text);
        double ns = (now_ns() - start) / (double)rounds;
        if (hits != 0)
            abort();
        best = ns < best ? ns : best;
    }
    return best;
}

static double measure_lexer(struct slice text)
{
    static const struct lexer_dialect d = {.standard_conforming_strings = true};
    double best = 1e18;
    size_t rounds = 1 + 2000000 / (10 + text.len);
    for (int run = 0; run < 7; run++) {
        size_t tokens = 0;
        double start = now_ns();
        for (size_t i = 0; i < rounds; i++) {
            struct lexer x;
            struct token t;
            lexer_init(&x, text, &d);
            while (lexer_next(&x, &t))
                tokens++;
        }
        double ns = (now_ns() - start) / (double)rounds;
        best = ns < best && tokens > 0 ? ns : best;
    }
    return best;
}

/* The whole inspection, as a text pays that holds an anchor in a string. */
static double measure_gate(struct slice text)
{
    static const struct handler none = {.name = "none"};
    static const struct handler *const nobody[] = {&none};
    const struct gate_session s = {.standard_conforming_strings = true};
    struct gate *g;
    struct gate_result r;
    struct arena a;
    struct err err;
    double best = 1e18;
    size_t rounds = 1 + 2000000 / (10 + text.len);
    if (!gate_new(nobody, 1, &g, &err))
        abort();
    arena_init(&a, 0);
    for (int run = 0; run < 7; run++) {
        double start = now_ns();
        for (size_t i = 0; i < rounds; i++) {
            arena_reset(&a);
            if (!gate_inspect(g, &s, text, &a, &r, &err) || r.verdict != GATE_PASS)
                abort();
        }
        double ns = (now_ns() - start) / (double)rounds;
        best = ns < best ? ns : best;
    }
    arena_fini(&a);
    gate_free(g);
    return best;
}

/* The words that the proxy looks for. */
static size_t collect_words(const char **words)
{
    size_t n = 0;
    words[n++] = "u&\"";
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++)
        for (size_t k = 0; k < handlers[i]->anchor_count && n < MAX_WORDS; k++)
            words[n++] = handlers[i]->anchors[k];
    return n;
}

int main(void)
{
    const char *words[MAX_WORDS];
    static const char pgbench[] = "SELECT abalance FROM pgbench_accounts WHERE aid = 4711423;";
    static const char update[] =
        "UPDATE pgbench_accounts SET abalance = abalance + -1234 WHERE aid = "
        "4711423 AND filler <> 'x' RETURNING 1";
    static const char join[] =
        "SELECT o.id, o.customer_id, sum(l.price * l.quantity) AS total FROM orders o JOIN "
        "order_lines l ON l.order_id = o.id LEFT JOIN customers c ON c.id = o.customer_id WHERE "
        "o.created_at >= now() - interval '30 days' AND c.region IN ('north', 'south') GROUP BY "
        "o.id, o.customer_id HAVING count(*) > 2 ORDER BY total DESC LIMIT 50";
    static char insert[1 << 20];
    struct prefilter *p;
    struct err err;
    size_t n = 0;
    while (n + 80 < sizeof insert)
        n += (size_t)snprintf(insert + n, sizeof insert - n,
                              "%s(%zu, 'some text with no word of ours', now())",
                              n == 0 ? "INSERT INTO t VALUES " : ", ", n);
    const struct slice texts[] = {slice_cstr(pgbench), slice_cstr(update), slice_cstr(join),
                                  slice_of(insert, 2048), slice_of(insert, n)};
    if (!prefilter_new(words, collect_words(words), &p, &err))
        return EXIT_FAILURE;
    prefilter_scan *vector = prefilter_find_vector_scan();
    printf("%10s %14s %14s %14s %14s\n", "bytes", "vectors ns", "by bytes ns", "lexer ns",
           "gate ns");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        prefilter_use_scan(p, vector);
        double fast = measure(p, texts[i]);
        prefilter_use_scan(p, NULL);
        printf("%10zu %14.1f %14.1f %14.1f %14.1f\n", texts[i].len, fast, measure(p, texts[i]),
               measure_lexer(texts[i]), measure_gate(texts[i]));
    }
    prefilter_free(p);
    return EXIT_SUCCESS;
}
