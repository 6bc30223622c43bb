/* The model of what the server owes, against the rows that were measured on PostgreSQL 15 and 18
 * (queries, pipelines, errors, COPY in both protocols), and with requests of ours in between.
 *
 * A conversation is a text:   > requests of the client    + requests of ours
 *                             = answers for the client    - answers to ours, by message type
 * Each answer must have the fate that its sign says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "response_queue.h"

struct rq_note {
    int id;
};

static int live_notes;

static void free_test_note(struct rq_note *note)
{
    live_notes--;
    free(note);
}

static struct rq_note *new_note(int id)
{
    struct rq_note *note = malloc(sizeof *note);
    note->id = id;
    live_notes++;
    return note;
}

static enum rq_kind kind_of(char type)
{
    static const char types[] = "LQPBDECSFHc";
    const char *at = strchr(types, type == 'f' ? 'c' : type);
    assert_non_null(at);
    return (enum rq_kind)(at - types);
}

static void say(struct response_queue *q, char sign, char type)
{
    struct rq_note *note;
    if (sign == '>' || sign == '+') {
        enum rq_fate fate = sign == '+' ? RQ_SKIP : RQ_FORWARD;
        assert_true(response_queue_request(q, kind_of(type), fate, new_note(type)));
        return;
    }
    enum rq_fate fate = response_queue_peek(q, type, &note);
    if (fate != (sign == '-' ? RQ_SKIP : RQ_FORWARD))
        fail_msg("fate of '%c' is %d", type, fate);
    response_queue_advance(q, type, type == 'Z' ? 'I' : '\0');
}

static void play(struct response_queue *q, const char *conversation)
{
    char sign = '>';
    for (const char *at = conversation; *at != '\0'; at++) {
        if (strchr(">+=-", *at) != NULL)
            sign = *at;
        else if (*at != ' ')
            say(q, sign, *at);
    }
}

/* Plays it, and expects that nothing is owed then. */
static void settle(const char *conversation)
{
    struct response_queue q;
    live_notes = 0;
    response_queue_init(&q, free_test_note);
    play(&q, conversation);
    if (q.count != 0 || q.skipping || q.copying_in || q.in_cycle || q.skip_count != 0)
        fail_msg("\"%s\": %u owed, skipping %d, copying %d, in cycle %d, %u of ours", conversation,
                 q.count, q.skipping, q.copying_in, q.in_cycle, q.skip_count);
    assert_int_equal(live_notes, 0);
    response_queue_fini(&q);
}

static void test_plain_conversations(void **state)
{
    static const char *const all[] = {
        ">L =RRvSSKZ",
        ">Q =TDDCZ",
        ">Q =IZ",
        ">Q =TDCTDCNCZ", /* several statements */
        ">Q =TDCEZ",     /* the third did not run */
        ">Q =EZ",
        ">PBDES =12TDDCZ",
        ">PBDES =12nIZ", /* empty query */
        ">PDS =1tTZ",
        ">PDS =1tnZ",
        ">PD =1tT >S =Z", /* Flush in between */
        ">BES =2DDsZ >ES =DDsZ >ES =DCZ",
        ">CS =3Z",
        ">F =VZ",
        ">F =EZ",
        ">S =Z",
        ">S =EZ", /* a deferred constraint at commit */
        ">SS =ZZ",
        ">HS =EZ", /* a Flush with a body is refused, and what follows is dropped */
        ">PBHES =12EZ",
        ">HQPS =EZ >Q =TDCZ",
        ">H =E >QPBE S =Z",
        ">QQQ =TDCZTDCZCZ",
        ">PBES PBES =12CZ12CZ",
        ">PBEPBEPBES =12C12C12CZ",
        ">Q =TDCASAZA", /* asynchronous messages at any time */
        "=ASN",
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        settle(all[i]);
}

static void test_errors_skip_to_sync(void **state)
{
    static const char *const all[] = {
        ">PBES =EZ", /* Parse fails */
        ">PBES =1EZ",
        ">PBES =12EZ",
        ">PBES =12DDEZ",
        ">PBDES =12EZ",
        ">PBESS =EZZ",  /* measured: E ZI ZI */
        ">PBE QS =1EZ", /* the Query in between is dropped: one Z */
        ">PBE Q F =1E >S =Z",
        ">P =E >BE >Q >S =Z", /* what comes after the error is dropped too */
        ">PBES PBES =EZ12CZ", /* the second cycle is answered */
        ">PBES Q =EZTDCZ",
        ">CP =3E >S =Z", /* Close after a failed Parse */
        ">PS =EZ >CS =3Z",
        ">P =E >S =Z",
        ">BES =EZ", /* missing statement 26000 */
        ">DS =EZ",
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        settle(all[i]);
}

static void test_query_inside_a_cycle(void **state)
{
    struct response_queue q;
    (void)state;
    settle(">PBDE Q =12TDCTDCZ");
    response_queue_init(&q, free_test_note);
    play(&q, ">PBE");
    assert_true(q.in_cycle);
    play(&q, ">Q =12C");
    assert_true(q.in_cycle);
    play(&q, "=TDCZ");
    assert_false(q.in_cycle);
    response_queue_fini(&q);
}

static void test_copy(void **state)
{
    static const char *const all[] = {
        ">Q =G >c =CZ", /* COPY FROM */
        ">Q =G >f =EZ",
        ">Q =GEZ >c >Q =TDCZ", /* bad row: the copy messages behind it are ignored */
        ">Q =GE >c =Z",
        ">Q =G >c =E Z",
        ">Q =G >c =CG >c =CCZ", /* two copies in one string */
        ">Qc =GCZ",             /* CopyDone sent in advance */
        ">Qcc =GCGCZ",
        ">QcQ =GCZTDCZ",
        ">QcQ =EZTDCZ", /* COPY failed before G: the CopyDone is ignored */
        ">c =",         /* outside a copy: ignored */
        ">f >Q =CZ",
        ">Q =HddcCZ", /* COPY TO */
        ">Q =HdEZ",
        ">PBES =12HddcCZ",
        ">PBE S =12G >c >S =CZ", /* extended: the Sync behind Execute yields no Z */
        ">PBES =12G >cS =CZ",
        ">PBESS =12G >cS =CZ",
        ">PBEScS =12GCZ", /* all sent in advance */
        ">PBES =12EZ",    /* COPY fails before G: that Sync does yield a Z */
        ">PBEScS =12EZZ",
        ">PBES =12G >f >S =EZ",
        ">PBES =12GE >c >S =Z", /* bad row */
        ">PBES =12G >c =E >S =Z",
        ">PBE =12G >S >c =C >S =Z",
        ">Q =G >S >c =CZ",  /* Sync is ignored in a simple copy too */
        ">Q =G >HS >c =CZ", /* and a damaged Flush */
        ">QHSc =GCZ",
        ">QS =G >c =CZ",
        ">Q =WdddcCZ", /* replication */
        ">Q =Wd >c =cCZ",
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        settle(all[i]);
}

static void test_copy_states(void **state)
{
    struct response_queue q;
    (void)state;
    response_queue_init(&q, free_test_note);
    play(&q, ">PBES =12G"); /* its Sync was ignored, so the cycle is still open */
    assert_true(q.in_cycle);
    play(&q, ">c >S =CZ");
    assert_false(q.in_cycle);
    play(&q, ">Q =G >Q =EE"); /* ERROR 08P01, then FATAL */
    assert_false(q.copying_in);
    response_queue_fini(&q);
}

static void test_ours_are_taken_out(void **state)
{
    static const char *const all[] = {
        "+CPBECCS -312D C33Z >Q =TDCZ",
        "+CPBECC -312DC33 >PBES =12CZ",
        ">PBE =12C +CPBECC -312DDC33 >PBES =12CZ",
        "+CPBECCS -31NEZ",        /* an error of ours, and a notice */
        "+CPBECC -31E >BE >S =Z", /* with Flush: the client's Sync ends it */
        "+F -VZ",
        "+F -EZ",
        "+CPBECCS -3 =AS -12C33Z",     /* asynchronous messages still pass */
        ">PBES +CPBECCS =EZ -312C33Z", /* behind an error of the client's */
        ">PBE +CPBECC =1E >S =Z",      /* skipped together with the client's */
        ">Q +CPBECCS >Q =EZ -312C33Z =CZ",
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        settle(all[i]);
}

static void test_stray_messages_pass_and_move_nothing(void **state)
{
    struct response_queue q;
    (void)state;
    settle("=Z >Q =Z");
    settle(
        ">PBES =12G E Z >S =Z"); /* the server had not read the first Sync when it was canceled */
    settle("+PS =Z -1Z");        /* a ReadyForQuery that nobody expected is not ours */
    settle("+PBS =T -12Z");
    response_queue_init(&q, free_test_note);
    play(&q, ">PB =Z");
    assert_int_equal(q.count, 2);
    play(&q, ">S =12Z");
    assert_int_equal(q.count, 0);
    response_queue_fini(&q);
}

static void test_forward_rest(void **state)
{
    struct response_queue q;
    (void)state;
    response_queue_init(&q, free_test_note);
    play(&q, "+CPBECCS -31E");
    assert_int_equal(q.skip_count, 1);
    response_queue_forward_rest(&q);
    assert_int_equal(q.skip_count, 0);
    play(&q, "=Z");
    assert_int_equal(q.count, 0);
    response_queue_fini(&q);
}

static void test_notes_belong_to_their_answers(void **state)
{
    struct response_queue q;
    struct rq_note *note;
    (void)state;
    response_queue_init(&q, free_test_note);
    play(&q, ">PBQ");
    assert_int_equal(response_queue_peek(&q, '1', &note), RQ_FORWARD);
    assert_int_equal(note->id, 'P');
    response_queue_peek(&q, 'E', &note);
    assert_int_equal(note->id, 'P');
    response_queue_peek(&q, 'N', &note);
    assert_int_equal(note->id, 'P');
    response_queue_peek(&q, 'A', &note);
    assert_null(note);
    play(&q, "=12");
    response_queue_peek(&q, 'C', &note);
    assert_int_equal(note->id, 'Q');
    play(&q, "=GC"); /* the copy's entry moves in the ring and keeps its note */
    response_queue_peek(&q, 'C', &note);
    assert_int_equal(note->id, 'Q');
    response_queue_fini(&q);
}

static void test_status_is_copied(void **state)
{
    struct response_queue q;
    (void)state;
    response_queue_init(&q, NULL);
    assert_int_equal(q.status, 0);
    response_queue_advance(&q, 'Z', 'T');
    assert_int_equal(q.status, 'T');
    response_queue_advance(&q, 'Z', 'E');
    assert_int_equal(q.status, 'E');
    response_queue_fini(&q);
}

/* Did a command of the client end in the transaction that the next one is in? */
static void test_completed_commands(void **state)
{
    static const struct {
        const char *conversation;
        bool completed;
    } cases[] = {
        {">Q =T =D", false},
        {">Q =C", true},
        {">Q =I", true},
        {">Q =C =Z >Q", false},
        {">PBES =1 =2 =D", false},
        {">PBEPBES =1 =2 =C =1 =2", true},
        {">PBES =1 =2 =C =Z >PBES =1 =2", false},
        {"+PBES -1 -2 -C -Z >PBES =1 =2", false},
        {"+PBE >PBE -1 -2 -C =1 =2 =D", false}, /* ours is none of the client's */
        {">PBES =1 =E =Z", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct response_queue q;
        response_queue_init(&q, free_test_note);
        play(&q, cases[i].conversation);
        if (q.completed != cases[i].completed)
            fail_msg("%s", cases[i].conversation);
        response_queue_fini(&q);
    }
}

static void test_limit_and_release_of_the_ring(void **state)
{
    struct response_queue q;
    (void)state;
    live_notes = 0;
    response_queue_init(&q, free_test_note);
    for (uint32_t i = 0; i < RQ_MAX_ENTRIES; i++)
        assert_true(response_queue_request(&q, RQ_PARSE, RQ_FORWARD, new_note(0)));
    assert_true(response_queue_is_full(&q));
    assert_false(response_queue_request(&q, RQ_PARSE, RQ_FORWARD, new_note(0)));
    assert_int_equal(live_notes, RQ_MAX_ENTRIES);
    for (uint32_t i = 0; i < RQ_MAX_ENTRIES; i++)
        play(&q, "=1");
    assert_int_equal(live_notes, 0);
    assert_null(q.ring);
    play(&q, ">S =Z");
    for (int i = 0; i < 100000; i++)
        play(&q, ">PBES =12CZ");
    assert_in_range(q.capacity, 1, 8);
    response_queue_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_conversations),
        cmocka_unit_test(test_errors_skip_to_sync),
        cmocka_unit_test(test_query_inside_a_cycle),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_copy_states),
        cmocka_unit_test(test_ours_are_taken_out),
        cmocka_unit_test(test_stray_messages_pass_and_move_nothing),
        cmocka_unit_test(test_forward_rest),
        cmocka_unit_test(test_notes_belong_to_their_answers),
        cmocka_unit_test(test_status_is_copied),
        cmocka_unit_test(test_completed_commands),
        cmocka_unit_test(test_limit_and_release_of_the_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
