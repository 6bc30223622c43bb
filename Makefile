# The commands of the README and nothing else; each installs what it needs.
#   make run      a private PostgreSQL, pgveneer in front of it on 127.0.0.1:6432, the database demo
#   make build    build/pgveneer            make test     every test, through ctest
#   make install  PREFIX=/usr/local         make bench    figures, not a test
#   make format   clang-format              make fuzz     a minute for each fuzz target
#   make test-drivers   every client in 20 scenarios
#   make soak soak-cursor soak-rebuild   the same for long
#   make test-regress   PostgreSQL's own regression and isolation tests through pgveneer
BUILD  ?= build
PREFIX ?= /usr/local
JOBS   ?= $(shell nproc)

.PHONY: build run test test-drivers test-regress soak-rebuild soak-cursor bench format install fuzz clean

build:
	scripts/install_packages.sh build
	scripts/build.sh release $(BUILD) $(JOBS)

run: build
	scripts/install_packages.sh run
	scripts/run_demo.sh $(BUILD)

test: build
	scripts/install_packages.sh test
	scripts/where_postgres_reaches.sh scripts/run_tests.sh $(BUILD) $(JOBS)

test-drivers: build
	scripts/install_packages.sh drivers
	scripts/where_postgres_reaches.sh scripts/run_drivers.sh $(BUILD)

test-regress: build
	scripts/install_packages.sh regress
	scripts/where_postgres_reaches.sh scripts/run_regress.sh $(BUILD)

soak-rebuild: build
	scripts/install_packages.sh test
	scripts/where_postgres_reaches.sh env PGVENEER_BUILD=$(BUILD) RUNS=$${RUNS:-500} SEED=$${SEED:-$$(date +%s)} PYTHONPATH=tests/support \
		/usr/bin/python3 tests/e2e/rebuild/test_random.py

soak-cursor: build
	scripts/install_packages.sh test
	scripts/where_postgres_reaches.sh env PGVENEER_BUILD=$(BUILD) PGVENEER_SEED=$${SEED:-$$(date +%s)} \
		PYTHONPATH=tests/support /usr/bin/python3 tests/e2e/parallel_cursor/test_random.py $${CASES:-10000}

bench: build
	scripts/install_packages.sh bench
	scripts/run_bench.sh $(BUILD)

format:
	scripts/install_packages.sh format
	git ls-files '*.c' '*.h' | xargs clang-format-14 -i

install: build
	cmake --install $(BUILD) --prefix $(PREFIX)

fuzz:
	scripts/install_packages.sh build test
	scripts/run_fuzz.sh build-fuzz $(JOBS)

clean:
	rm -rf build build-*

# Ten minutes (SOAK_SECONDS) of a writer, tasks that follow, and kill -9; the same in an object store that fails.
.PHONY: soak
soak: build
	scripts/install_packages.sh test
	scripts/where_postgres_reaches.sh scripts/run_soak.sh $(BUILD)
