.PHONY: help check test bench docs

help:  ## What there is
	@grep -E "^[a-z]+:.*##" Makefile | sed "s/:.*## /\t/"

check:  ## Lint, format, types, direction of imports
	bash .ci/check

test:  ## The tests, on the installed package
	pytest

bench:  ## What a decision and an update take
	python benchmarks/speed.py

docs:  ## That links and commands in README.md and docs/ point to what exists; builds nothing
	python .ci/docs.py
