/* Avro object container files, as JSON text. The only door to avro-c. */
#ifndef HUDI_AVRO_H
#define HUDI_AVRO_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

/* Is it a container ("Obj" and 1)? */
bool avro_is_container(struct slice bytes);

/* Appends the first object of a container as JSON: records and maps become objects, a union its
 * branch's value alone, enums and fixed strings; bytes that are not UTF-8 become U+FFFD.
 * Codecs   null, deflate
 * Errors   XX001 not a container, damaged, empty; 0A000 another codec; 54000 the text does not fit
 *          into `json` */
MUST_USE bool avro_container_to_json(struct slice bytes, struct buf *json, struct err *err);

#endif
