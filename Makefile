.PHONY: help check test bench docs

help:  ## What there is
	@grep -E "^[a-z]+:.*##" Makefile | sed "s/:.*## /\t/"

check:  ## Lint, format, types, direction of imports
	bash .ci/check

test:  ## The tests, on the installed package
	pytest -n auto --dist loadfile

bench:  ## What a decision and an update take
	python benchmarks/speed.py

docs:  ## The site, in build/docs; needs the extra `docs`
	python -m sphinx -W --keep-going -q -b html docs build/docs
