# The commands a newcomer needs. Everything that is made goes to target/.
.PHONY: run test test-loom mutants soak abuse million lint bench bench-quick bench-build test-tools clean-run

STOA := target/debug/stoa
RUN  := target/run

run: ## Build, make a store, import the sample directory, serve it on 127.0.0.1:7862
	cargo build --workspace --bins
	mkdir -p $(RUN)
	[ -f $(RUN)/DATA/STORE ] || { $(STOA) sample --out $(RUN)/people.ldif && \
	  $(STOA) import --pool sample --format ldif $(RUN)/people.ldif --data $(RUN)/DATA; }
	exec $(STOA) serve --dev --data $(RUN)/DATA \
	  --hint "The pool 'sample' holds 1000 made-up people. Try, in another terminal (apt-get install redis-tools):" \
	  --hint "  redis-cli -p 7862 USER.GET sample username=ana.lopez" \
	  --hint "  redis-cli -p 7862 CRED.VERIFY sample login=ana.lopez stoa-ana.lopez" \
	  --hint "  redis-cli -p 7862 USER.COUNT sample FILTER 'locale eq \"en-US\"'"

test: test-tools ## Install what tests need, run all tests
	cargo build --workspace --all-targets
	cargo test --workspace
	$(MAKE) test-loom

test-loom: ## The engine's protocols between threads, in every order of events
	RUSTFLAGS="--cfg loom" cargo test -p stoa-loom --target-dir target/loom

abuse: ## The real server under abuse, and whether others wait longer for it: on a machine that does nothing else
	cargo build --workspace --all-targets
	STOA_ABUSE_TIMES=1 cargo test --workspace --test abuse -- --include-ignored --nocapture --test-threads=1

million: test-tools ## A million users (of PEOPLE=file.ldif, or made up) by redis-py and redis-cli: import, counts, listings, a group of all, deletes, with times
	cargo build --release -p stoa
	target/test-env/python/bin/python tests/clients/million.py target/release/stoa target/million $(if $(PEOPLE),1000000 $(PEOPLE))

mutants: ## Tries every deliberate bug of tests/mutants: each must be caught by its test
	tests/mutants/run.py

soak: ## Crash stores (from the seed STOA_SOAK_SEED on) and fuzz parsers, without end or for STOA_SOAK_SECONDS
	tests/fuzz/soak.sh

test-tools:
	tests/install.sh

lint: ## Formatting, clippy, documentation, dependency audit
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	tests/audit.sh

bench: bench-build ## Micro-benchmarks, then Stoa beside its peers with a million users: target/bench/report.md
	cargo bench -p stoa-benches --features peers -- --quick
	target/release/suite --users 1000000

bench-quick: bench-build ## The same suite with 20,000 users, to see that it works: no figures to quote
	target/release/suite --quick --users 20000

bench-build:
	benches/install.sh
	cargo build --release -p stoa
	cargo build --release -p stoa-benches --features peers

clean-run: ## Forget the store of make run
	rm -rf $(RUN)
