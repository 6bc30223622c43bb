/* Rows of a cursor that the declaring session itself reads (mode M3 of spec/parallel-cursor.md 4.2): a
 * retrieve session asks for a portion, the declaring session fetches it between its client's statements.
 *
 *   receiver's loop                              declarer's loop
 *   cursor_fetch_send       -- mail -->          waits in `waiting`, then runs as `current`
 *   on_block                <-- mail --          rows, as they come; at most CURSOR_FETCH_WINDOW unread
 *   cursor_block_return     -- mail -->          the window opens again
 *   on_done                 <-- mail --          the portion ended */
#ifndef PROXY_CURSOR_FETCH_H
#define PROXY_CURSOR_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"

#include "endpoint.h"
#include "mailbox.h"

struct session;

#define CURSOR_FETCH_WINDOW ((size_t)1024 * 1024)

struct cursor_block {
    struct mail mail;
    struct cursor_fetch *fetch;         /* borrowed; only to compare */
    struct endpoint_party *receiver;    /* a reference */
    struct endpoint_declarer *declarer; /* a reference */
    struct list link;                   /* the receiver's */
    size_t bytes;
    char data[]; /* DataRow messages, cut anywhere */
};

/* A portion. Made by the receiver, moved to the declarer and back, freed by the receiver. */
struct cursor_fetch {
    struct mail mail;
    struct list link;
    struct endpoint *endpoint;       /* a reference */
    struct endpoint_party *receiver; /* a reference */
    uint32_t rows;
    uint16_t nformats; /* result formats, as in Bind */
    struct buf formats;
    char encoding[32]; /* of the receiver's client */
    /* the answer */
    uint64_t count;   /* rows that came */
    struct buf error; /* body of the server's ErrorResponse; empty: none */
    struct err err;   /* an error of ours */
    bool is_canceled; /* declarer's side */
    /* on the receiver's loop; who is NULL when it is gone */
    void (*on_done)(void *who, struct cursor_fetch *f);
};

MUST_USE struct cursor_fetch *cursor_fetch_new(struct endpoint *e, struct endpoint_party *receiver);
void cursor_fetch_free(struct cursor_fetch *f);
/* Moves it to the declaring session. on_block: of the receiver, for each block; it must give every
 * block back by cursor_block_return. */
void cursor_fetch_send(struct cursor_fetch *f);
void cursor_block_return(struct cursor_block *b);
/* The receiver does not want the portion any more: it ends with an error soon. */
void cursor_fetch_cancel(struct endpoint *e, struct endpoint_party *receiver);
/* The retrieve session's reader of blocks; set once, before any session runs. */
extern void (*cursor_block_receive)(void *who, struct cursor_block *b);

/* ---- the declaring session's side ---- */

struct cursor_fetches {
    struct list waiting;          /* of struct cursor_fetch */
    struct cursor_fetch *current; /* at the server */
    bool is_undoing;              /* takes its savepoint back after an error */
    bool is_diverting;            /* the server's rows go to the receiver now */
    bool changes_encoding;
    unsigned cancels; /* cancel requests under way: the client waits for their end too */
    size_t unread_bytes;
};

void cursor_fetch_init(struct cursor_fetches *f);
/* The session ends: whoever waits is told. */
void cursor_fetch_forget(struct session *s);
/* Starts the next portion if the session is free for it. */
void cursor_fetch_pump(struct session *s);
/* The queue moved. */
void cursor_fetch_on_advance(struct session *s);
void cursor_fetch_on_answer(struct session *s, char type, struct slice body);
/* Before each message of the server: is it a row of the portion? Then its bytes are for on_rows. */
bool cursor_fetch_diverts(struct session *s, char type);
void cursor_fetch_on_rows(struct session *s, const char *data, size_t bytes);
/* Should the server's socket rest? */
bool cursor_fetch_is_full(const struct session *s);
bool cursor_fetch_is_active(const struct session *s);
/* A ParameterStatus that only our own SET LOCAL caused. */
bool cursor_fetch_hides(const struct session *s, struct slice body);

#endif
