/* Shared by the files of the registry: endpoint.c (who is in it, and what the declaring side does),
 * endpoint_receive.c (retrieve sessions), endpoint_worker.c (connections of workers) and endpoint_list.c
 * (what is shown). */
#ifndef ENDPOINT_PRIVATE_H
#define ENDPOINT_PRIVATE_H

#include <pthread.h>

#include "endpoint.h"

struct endpoint_registry {
    pthread_mutex_t lock;
    struct list declarers;
    struct list parties;
    uint8_t salt[16]; /* one for all tokens, so that one challenge serves all that a user has */
    struct scram_verifier nobody;
    uint32_t last_cursor;
    size_t endpoint_count;
    struct list users;    /* of struct user_places */
    unsigned place_count; /* of workers' connections that are taken */
};

static inline void endpoint_lock(struct endpoint_registry *r)
{
    pthread_mutex_lock(&r->lock);
}

static inline void endpoint_unlock(struct endpoint_registry *r)
{
    pthread_mutex_unlock(&r->lock);
}

/* The elements of a list; the one at hand may be removed. */
#define ENDPOINT_EACH(head, at, behind)                                                            \
    struct list *at = (head)->next, *behind = at->next;                                            \
    at != (head);                                                                                  \
    at = behind, behind = at->next

/* Under the lock: the declarer's endpoint of this name, or NULL. */
struct endpoint *endpoint_find(const struct endpoint_declarer *d, const char *name);

#endif
