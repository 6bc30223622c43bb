# Beside the unit tests: programs that end-to-end tests run, fuzz targets, benchmarks.

# The support schema alone: psql against a private server (tests/e2e/sql).
add_executable(print_migrations ${CMAKE_SOURCE_DIR}/tests/support/print_migrations.c)
target_link_libraries(print_migrations PRIVATE task_job hudi_job rebuild_job parallel_cursor_job)

# Makes Hudi tables for the demo, the tests and the benchmark (tests/support/hudi_writer/writer.h).
file(GLOB hudi_writer CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/support/hudi_writer/*.c)
add_executable(hudi_writer ${hudi_writer})
target_include_directories(hudi_writer PRIVATE ${CMAKE_SOURCE_DIR}/handlers/hudi ${DUCKDB_DIR})
target_link_libraries(hudi_writer PRIVATE hudi_job ${DUCKDB_DIR}/libduckdb.so)
set_target_properties(hudi_writer PROPERTIES BUILD_RPATH ${DUCKDB_DIR})

# What a foreign table on a Hudi table would declare, for the tests that read other people's tables.
add_executable(hudi_columns ${CMAKE_CURRENT_LIST_DIR}/support/hudi_columns.c)
target_include_directories(hudi_columns PRIVATE ${CMAKE_SOURCE_DIR}/handlers/hudi)
target_link_libraries(hudi_columns PRIVATE hudi_job)

# Programs that end-to-end tests run: the task engine with a task kind of its own, the login of a
# control connection, pgclient and objstore.
add_executable(task_probe ${CMAKE_SOURCE_DIR}/tests/support/task_probe.c)
target_link_libraries(task_probe PRIVATE task_job)
add_executable(login_probe ${CMAKE_CURRENT_LIST_DIR}/support/login_probe.c)
target_include_directories(login_probe PRIVATE ${CMAKE_SOURCE_DIR}/proxy)
target_link_libraries(login_probe PRIVATE proxy)
add_executable(pgclient_probe ${CMAKE_CURRENT_LIST_DIR}/support/pgclient_probe.c)
target_link_libraries(pgclient_probe PRIVATE pgclient)
add_executable(objstore_probe ${CMAKE_CURRENT_LIST_DIR}/support/objstore_probe.c)
target_link_libraries(objstore_probe PRIVATE objstore)

# Preloaded by kill tests; without the sanitizers, whose runtime is in the program.
add_library(phase_hold SHARED ${CMAKE_CURRENT_LIST_DIR}/support/phase_hold.c)
set_target_properties(phase_hold PROPERTIES PREFIX "" COMPILE_OPTIONS "" LINK_OPTIONS "")

# Fuzz targets: tests/fuzz/fuzz_<reader>.c, each an LLVMFuzzerTestOneInput, with a corpus in
# tests/fuzz/corpus/<reader>/ if there is one. With PGVENEER_FUZZ (clang) under ctest a fixed number of
# runs each; `make fuzz` runs a minute each. In ordinary builds the corpus is replayed.
file(GLOB fuzz CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_*.c)
foreach(source ${fuzz})
  get_filename_component(name ${source} NAME_WE)
  string(REGEX REPLACE "^fuzz_" "" corpus ${name})
  set(corpus ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${corpus})
  if(NOT EXISTS ${corpus})
    set(corpus "")
  endif()
  add_executable(${name} ${source})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/proxy
                             ${CMAKE_SOURCE_DIR}/handlers/hudi ${CMAKE_SOURCE_DIR}/handlers/objstore)
  target_link_libraries(${name} PRIVATE protocol proxy task_gate hudi_gate hudi_job
                        rebuild_gate parallel_cursor_gate)
  target_compile_options(${name} PRIVATE -Wno-unused-result) # only a crash is of interest
  set(test ${PGVENEER_TEST_PREFIX}fuzz/${name})
  if(PGVENEER_FUZZ)
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    set(found ${CMAKE_BINARY_DIR}/corpus/${name}) # libFuzzer writes into the first folder
    file(MAKE_DIRECTORY ${found})
    add_test(NAME ${test} COMMAND ${name} -runs=20000 -max_total_time=30 -seed=1 ${found} ${corpus})
  else()
    target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/replay.c)
    add_test(NAME ${test} COMMAND ${name} ${corpus})
  endif()
  set_tests_properties(${test} PROPERTIES LABELS fuzz TIMEOUT 120)
endforeach()

# Small benchmarks of single modules; built, not run by ctest.
file(GLOB benches CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/bench/bench_*.c)
foreach(source ${benches})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/proxy)
  target_link_libraries(${name} PRIVATE proxy task_gate hudi_gate rebuild_gate parallel_cursor_gate)
endforeach()

# A reader on libpq for cursor_bench.py.
add_executable(cursor_reader ${CMAKE_SOURCE_DIR}/tests/bench/cursor_reader.c)
target_link_libraries(cursor_reader PRIVATE PkgConfig::PQ)
