# Nothing but Python 3.11 or newer is needed. Each target sets itself up; the two stamps say that nothing changed.

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

.PHONY: help demo test install serve sandbox bench audit lock

help:
	@echo "make demo       see it work: sandbox providers, no key, no network (KEEP=1 leaves it running)"
	@echo "make test       the whole suite"
	@echo "make serve      the service with the settings of .env, against the real providers"
	@echo "make sandbox    the sandbox providers at http://127.0.0.1:9000, to try without paying (PORT=… for another)"
	@echo "make bench      its own speed, as a table"
	@echo "make audit      known holes in the pinned packages"
	@echo "make install    .venv only (done by the others too)"

demo: .venv/run
	@$(BIN)/python -m service demo $(if $(filter-out 0 no false,$(KEEP)),--keep)

# Four processes, as most tests wait for disks and clocks; each module compiled once, also where an image says not to.
test: .venv/test .venv/node
	@[ -n "$$CHROMIUM" ] || command -v chromium >/dev/null || \
	  { echo "Chromium is missing, which the pages are tested in (Debian: apt install chromium; or set CHROMIUM to its path)." >&2; exit 1; }
	@[ -x /usr/sbin/pgbouncer ] || command -v pgbouncer >/dev/null || \
	  echo "pgbouncer is missing (Debian: apt install pgbouncer): tests/test_pgbouncer.py does not run." >&2
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 4

install: .venv/run .venv/test .venv/node

serve: .venv/run
	@$(BIN)/python -m service

# The environment may hold the PORT of the service: only what is given to make counts here.
sandbox: .venv/run
	@$(BIN)/python -m service sandbox $(if $(filter command line,$(origin PORT)),--port $(PORT))

# Known holes in what requirements.txt pins; asks the network.
audit: .venv/test
	@$(BIN)/pip-audit --requirement requirements.txt --disable-pip --no-deps

bench: .venv/test
	@$(BIN)/python -m bench

.venv/run: requirements.txt
	@$(BIN)/python -c "import pip" 2>/dev/null || $(MAKE) --no-print-directory new-venv
	@echo "Installing what the service needs: $$(grep -c == $<) packages into .venv, once …"
	@$(PIP) install -r requirements.txt
	@touch $@

.venv/test: .venv/run tests/requirements.txt
	@echo "Installing the test tools: $$(grep -c == tests/requirements.txt) packages into .venv, once …"
	@$(PIP) install -r tests/requirements.txt
	@touch $@

# Zapier's tester and Node-RED, which the integrations are tried with. Nothing of the service needs Node.
.venv/node: .venv/test tests/node/package-lock.json
	@if command -v npm >/dev/null; then \
	  echo "Installing the Node packages of the tests into tests/node, once …" && \
	  npm ci --prefix tests/node --no-audit --no-fund --ignore-scripts --loglevel=error >/dev/null && touch $@; \
	else \
	  echo "Node 20 or newer is missing (Debian: apt install nodejs npm): the tests of the integrations will fail." >&2; \
	fi

# Asked from /, where no .python-version of a folder makes pyenv refuse; answered with the interpreter's own path.
.PHONY: new-venv
new-venv:
	@for name in python3.13 python3.12 python3.11 python3; do \
	  found=$$(cd / && $$name -c 'import ensurepip, sys; print(sys.executable if sys.version_info >= (3, 11) else "")' \
	    2>/dev/null) && [ -n "$$found" ] && \
	    echo "Making .venv with $$found …" && exec "$$found" -m venv .venv; \
	done; \
	echo "Python 3.11 or newer with venv is needed, and none was found (Debian: apt install python3-venv)." >&2; exit 1

# New pins from pyproject.toml, found in an environment of their own.
lock:
	@rm -rf .venv && $(MAKE) --no-print-directory new-venv
	@$(PIP) install --upgrade pip && $(PIP) install .
	@$(BIN)/pip freeze --exclude callbridge >requirements.txt
	@$(PIP) install --group dev
	@$(BIN)/pip freeze --exclude callbridge >tests/requirements.txt
	@rm -rf .venv build
