/* Shared by the files of `pgveneer check`. */
#ifndef MAIN_CHECK_H
#define MAIN_CHECK_H

#include "base/err.h"
#include "config.h"

/* One line, and a hint below. level: "ok", "warning", "error". */
void main_check_tell(const char *level, const char *what, const struct err *err);
/* auth_query, asked as this service role (empty: it cannot log in), and whether relayed logins can
 * work between the two legs. Returns the number of errors told. */
unsigned main_check_auth(const struct config *c, const char *service_user);
/* The TLS of both legs and of the service login: files, whether they fit, when they end. Returns the
 * number of errors told. */
unsigned main_check_tls(const struct config *c);

#endif
