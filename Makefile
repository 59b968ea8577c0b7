# Everything that a person does with this repository. `make help` lists it.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Where `make run` listens and keeps its data.
LISTEN ?= localhost:8080
DATA   ?= .picloud
# Which checks `make test-appliance` is limited to; all by default.
ONLY ?=
# How long `make fuzz` spends on each target, and which packages it looks at.
FUZZTIME ?= 30s
FUZZPKG  ?= ./...

# Go may have been unpacked where no PATH leads; an old one fetches the toolchain
# that go.mod names.
export PATH        := $(PATH):/usr/local/go/bin:/usr/lib/go/bin
export GOTOOLCHAIN ?= auto
# No C: binaries that run on any Linux of their architecture.
export CGO_ENABLED := 0

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null)
export LDFLAGS := -s -w -X main.version=$(VERSION) -X main.release=$(VERSION) -X main.commit=$(COMMIT)

GOLANGCI := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: help
help: ## list what can be done
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## install what is missing, build, and serve on http://localhost:8080 (LISTEN=, DATA=)
	@scripts/install.sh go postgres
	@$(MAKE) --no-print-directory build
	@exec bin/picloud dev --listen '$(LISTEN)' --data '$(DATA)'

.PHONY: build
build: ## build bin/picloud, bin/picloud-worker and bin/pic
	@echo 'building bin/picloud, bin/picloud-worker and bin/pic; the first time takes minutes' >&2
	@go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

.PHONY: test
test: ## install what the tests need and run all of them
	@scripts/install.sh go postgres node chromium
	@scripts/test.sh

.PHONY: test-appliance
test-appliance: ## boot PiCloud's appliance in a container of systemd and try its sleep (needs root; ONLY=name)
	@scripts/install.sh go systemd
	@$(MAKE) --no-print-directory build
	@go run ./scripts/appliance -only '$(ONLY)'

.PHONY: race
race: ## run all tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 scripts/test.sh -race

# Packages whose tests need neither a database nor a whole server.
UNIT = go list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... | \
	grep -v -e services/cloudtest -e services/postgres/cluster | cut -d ' ' -f 1

.PHONY: check
check: format vet lint shellcheck ## what a change must pass before it is committed, without a database
	go test -short $$($(UNIT))

.PHONY: format
format: ## complain about files that gofmt would change
	@files=$$(gofmt -l cmd examples migrations scripts services); \
	[[ -z $$files ]] || { printf 'run gofmt -w on:\n%s\n' "$$files" >&2; exit 1; }

.PHONY: vet
vet: ## run go vet
	go vet ./...

.PHONY: lint
lint: ## run the linters of .golangci.yml (the first time builds golangci-lint)
	$(GOLANGCI) run

.PHONY: shellcheck
shellcheck: ## check the shell scripts, where shellcheck is installed
	@if command -v shellcheck >/dev/null; then shellcheck .ci/run scripts/*.sh scripts/appliance/*.sh rootfs/usr/lib/picloud/*; else echo 'shellcheck is not installed; skipped' >&2; fi

.PHONY: fuzz
fuzz: ## fuzz each target for a while (FUZZTIME=30s, FUZZPKG=./...)
	@scripts/fuzz.sh '$(FUZZTIME)' '$(FUZZPKG)'

.PHONY: bench
bench: ## measure against bare Caddy and bare pgx on this machine, as a table
	@scripts/install.sh go postgres wrk
	@$(MAKE) --no-print-directory build
	@go run ./scripts/bench

.PHONY: cross
cross: ## build pic for Linux, macOS and Windows, and the server for arm64, into dist/
	@scripts/cross.sh

.PHONY: clean
clean: ## remove what was built; data under .picloud stays
	rm -rf bin dist coverage.out
