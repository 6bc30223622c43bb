/* Lists of deletes as Hudi wrote them before log format 3: HoodieKey[] (content version 1) or
 * DeleteRecord[] (2), serialized by Kryo 3 or 4 with references and without registered classes.
 *
 * Spec  apache/hudi HoodieDeleteBlock, SerializationUtils, DeleteRecord, HoodieKey; EsotericSoftware/kryo
 *       4.0.2 Kryo, DefaultClassResolver, MapReferenceResolver, FieldSerializer, DefaultSerializers,
 *       Output.writeString */
#ifndef HUDI_KRYO_DELETES_H
#define HUDI_KRYO_DELETES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"
#include "log_rows.h"

struct kryo_deletes;

/* body     of the delete block; must outlive the list
 * version  1 or 2
 * *out     from `a`
 * Errors   0A000 other Java objects, with their class; XX001 damaged */
MUST_USE bool kryo_deletes_open(struct arena *a, struct slice body, uint32_t version,
                                struct kryo_deletes **out, struct err *err);
/* The next delete, without `unconditional`; *found is false behind the last. Errors as above. */
MUST_USE bool kryo_deletes_next(struct kryo_deletes *k, struct log_delete *out, bool *found,
                                struct err *err);

#endif
