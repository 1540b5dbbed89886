# .ci/setup installs what is missing (libfuse, Python packages) and prints the interpreter to use.
.PHONY: run umount test bench conformance oracle docs

run: ## mount fixtures/ring4.toml on mountpoints/ring4 and show what it can do
	@python=$$(.ci/setup) && $$python docs/demo.py fixtures/ring4.toml mountpoints/ring4

umount: ## unmount what `make run` mounted
	@python=$$(.ci/setup) && $$python -m numafs umount mountpoints/ring4

test: ## everything: ruff, mypy --strict, pytest
	@python=$$(.ci/setup tests) && set -x && $$python -m ruff check && $$python -m mypy && $$python -m pytest

bench: ## the benchmarks, as a table
	@python=$$(.ci/setup) && $$python -m benchmarks

conformance: ## the recorded scenarios against a mount, with a score for each group
	@python=$$(.ci/setup tests) && $$python -m tests.conformance

oracle: ## record the scenarios and the random sequences again, on Linux 6.1 in QEMU (Debian packages; hours)
	@python=$$(.ci/setup) && $$python -m tests.oracle && $$python -m tests.differential --record && $$python -m tests.differential --v2 --record

docs: ## docs/fidelity.md, from the sentences that begin with "Simplified:"
	@python=$$(.ci/setup) && $$python docs/fidelity.py
