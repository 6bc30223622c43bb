/* The inside of a DuckDB session, for duck.c and duck_append.c alone.
 *
 * Every symbol that we use stands in one list, which makes the table of pointers and the code that
 * fills it; the foreign header only lends its types. */
#ifndef HUDI_DUCK_SESSION_H
#define HUDI_DUCK_SESSION_H

#include <stdbool.h>

#include <duckdb.h>

#include "base/err.h"
#include "duck.h"

#define DUCK_FUNCTIONS(X)                                                                          \
    X(duckdb_create_config)                                                                        \
    X(duckdb_set_config)                                                                           \
    X(duckdb_destroy_config)                                                                       \
    X(duckdb_open_ext)                                                                             \
    X(duckdb_close)                                                                                \
    X(duckdb_connect)                                                                              \
    X(duckdb_disconnect)                                                                           \
    X(duckdb_free)                                                                                 \
    X(duckdb_destroy_result)                                                                       \
    X(duckdb_result_error)                                                                         \
    X(duckdb_result_error_type)                                                                    \
    X(duckdb_column_count)                                                                         \
    X(duckdb_column_name)                                                                          \
    X(duckdb_column_logical_type)                                                                  \
    X(duckdb_prepare)                                                                              \
    X(duckdb_destroy_prepare)                                                                      \
    X(duckdb_prepare_error)                                                                        \
    X(duckdb_prepared_statement_column_count)                                                      \
    X(duckdb_prepared_statement_column_name)                                                       \
    X(duckdb_prepared_statement_column_logical_type)                                               \
    X(duckdb_pending_prepared_streaming)                                                           \
    X(duckdb_pending_execute_task)                                                                 \
    X(duckdb_pending_error)                                                                        \
    X(duckdb_destroy_pending)                                                                      \
    X(duckdb_execute_pending)                                                                      \
    X(duckdb_fetch_chunk)                                                                          \
    X(duckdb_destroy_data_chunk)                                                                   \
    X(duckdb_data_chunk_get_size)                                                                  \
    X(duckdb_data_chunk_get_vector)                                                                \
    X(duckdb_vector_get_data)                                                                      \
    X(duckdb_vector_get_validity)                                                                  \
    X(duckdb_list_vector_get_child)                                                                \
    X(duckdb_struct_vector_get_child)                                                              \
    X(duckdb_get_type_id)                                                                          \
    X(duckdb_destroy_logical_type)                                                                 \
    X(duckdb_decimal_width)                                                                        \
    X(duckdb_decimal_scale)                                                                        \
    X(duckdb_decimal_internal_type)                                                                \
    X(duckdb_list_type_child_type)                                                                 \
    X(duckdb_map_type_key_type)                                                                    \
    X(duckdb_map_type_value_type)                                                                  \
    X(duckdb_struct_type_child_count)                                                              \
    X(duckdb_struct_type_child_name)                                                               \
    X(duckdb_struct_type_child_type)                                                               \
    X(duckdb_appender_create_ext)                                                                  \
    X(duckdb_appender_column_count)                                                                \
    X(duckdb_appender_column_type)                                                                 \
    X(duckdb_appender_error)                                                                       \
    X(duckdb_appender_close)                                                                       \
    X(duckdb_appender_destroy)                                                                     \
    X(duckdb_append_data_chunk)                                                                    \
    X(duckdb_create_data_chunk)                                                                    \
    X(duckdb_data_chunk_reset)                                                                     \
    X(duckdb_data_chunk_set_size)                                                                  \
    X(duckdb_vector_size)                                                                          \
    X(duckdb_vector_ensure_validity_writable)                                                      \
    X(duckdb_validity_set_row_invalid)                                                             \
    X(duckdb_vector_assign_string_element_len)                                                     \
    X(duckdb_list_vector_reserve)                                                                  \
    X(duckdb_list_vector_set_size)

struct functions {
#define X(name) __typeof__(&name) name;
    DUCK_FUNCTIONS(X)
#undef X
};

struct duck {
    struct duck *beside; /* borrows: whose database it is; NULL: its own */
    void *library;
    struct functions f;
    duckdb_database database;
    duckdb_connection connection;
    bool (*must_stop)(void *arg);
    void *arg;
    const char *temp_directory; /* borrows */
    unsigned names;             /* given out by duck_next_name */
};

/* Has the session been told to stop? */
bool duck_must_stop(const struct duck *d);
/* Sets the error that DuckDB's text stands for; returns false. */
bool duck_text_error(const char *text, struct err *err);

#endif
