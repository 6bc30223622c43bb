/* The gate with the handlers of the product, on any bytes: the first chooses the session, the rest is
 * the text. What is found holds an anchor; the text that goes to the server is the client's outside the
 * edits; every position comes back to a place in the client's text; and names that are shadowed and
 * questions that are answered with no leave the text as it was. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hudi/handler.h"
#include "parallel_cursor/handler.h"
#include "proxy/encoding.h"
#include "proxy/gate.h"
#include "rebuild/handler.h"
#include "task/handler.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

static const char *const encodings[] = {"UTF8", "SJIS", "LATIN1", "GB18030"};

static const struct gate *find_gate(void)
{
    static const struct handler *const handlers[] = {&task_handler, &hudi_handler, &rebuild_handler,
                                                     &parallel_cursor_handler};
    static struct gate *g;
    struct err err;
    if (g == NULL)
        require(gate_new(handlers, 4, &g, &err));
    return g;
}

/* Outside the edits both texts are the same. */
static void check_splice(struct slice text, const struct gate_result *r)
{
    size_t from = 0, to = 0;
    for (size_t i = 0; i < r->edit_count; i++) {
        const struct gate_edit *e = &r->edits[i];
        require(e->start >= from && e->start + e->length <= text.len);
        size_t kept = e->start - from;
        require(to + kept + e->with.len <= r->text.len);
        require(memcmp(text.data + from, r->text.data + to, kept) == 0);
        require(memcmp(e->with.data, r->text.data + to + kept, e->with.len) == 0);
        to += kept + e->with.len;
        from = e->start + e->length;
    }
    require(text.len - from == r->text.len - to);
    require(text.len == from || memcmp(text.data + from, r->text.data + to, text.len - from) == 0);
}

static void check_positions(struct slice text, const struct gate_result *r, const char *encoding)
{
    uint32_t before = 1;
    size_t characters = encoding_count(encoding_find(encoding), text);
    for (uint32_t p = 1; p <= r->text.len + 2 && p < 300; p++) {
        uint32_t mapped = gate_map_position(text, r->edits, r->edit_count, encoding, p);
        require(mapped >= before && mapped <= characters + 1);
        before = mapped;
    }
}

/* With every bare name shadowed and every question answered with no. */
static void check_turned_down(struct arena *a, struct gate_session s, struct slice text,
                              const struct gate_result *first)
{
    static const bool no[256];
    struct gate_result r;
    struct err err;
    s.shadowed = ~(uint64_t)0;
    s.answers = no;
    s.answer_count = first->ask_count < 256 ? first->ask_count : 256;
    if (!gate_inspect(find_gate(), &s, text, a, &r, &err))
        return;
    require(r.ask == NULL && r.ask_count == 0);
    require(r.edit_count <= first->edit_count || first->ask_count > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice text = slice_of((const char *)data + 1, size - 1);
    struct gate_session s = {.standard_conforming_strings = (data[0] & 1) == 0,
                             .client_encoding = encodings[(data[0] >> 1) % 4],
                             .has_cursors = (data[0] & 8) != 0};
    struct gate_result r;
    struct arena a;
    struct err err = {.sqlstate = ""};
    arena_init(&a, (size_t)1 << 24);
    if (gate_inspect(find_gate(), &s, text, &a, &r, &err)) {
        bool hold = gate_may_hold(find_gate(), text);
        require(hold || r.verdict == GATE_PASS);
        require((r.verdict == GATE_REFUSE) == (err.sqlstate[0] != '\0'));
        if (r.verdict == GATE_REWRITE) {
            require(r.edit_count + r.cursor_count > 0);
            require((r.ask != NULL) == (r.ask_count > 0));
            check_splice(text, &r);
            check_positions(text, &r, s.client_encoding);
            check_turned_down(&a, s, text, &r);
        }
    }
    arena_fini(&a);
    return 0;
}
