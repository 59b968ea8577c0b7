#!/usr/bin/env bash
# Installs what is missing of: go, postgres, node, chromium, wrk, systemd (what it
# takes to make and boot a container of Debian). Takes their
# names as arguments, uses the distribution's packages (Debian, Ubuntu and what
# descends from them), says what it does, and does nothing when nothing is missing.
#
#   scripts/install.sh go postgres
set -euo pipefail

readonly min_go=21                    # 1.21 is the first that fetches the toolchain go.mod names
readonly postgres_majors=(18 17 16 15) # preferred first
readonly min_node=18
readonly no_cluster=/etc/postgresql-common/createcluster.d/zz-picloud-install.conf

PATH="$PATH:/usr/local/go/bin:/usr/lib/go/bin"

say() { printf 'install: %s\n' "$*" >&2; }

fail() {
	say "$*"
	exit 1
}

# go_minor prints N of the Go 1.N that is there, without fetching another one.
go_minor() {
	local version
	version=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || return 0
	[[ $version =~ go1\.([0-9]+) ]] && printf '%s' "${BASH_REMATCH[1]}"
}

has_go() {
	local minor
	minor=$(go_minor)
	[[ -n $minor && $minor -ge $min_go ]]
}

has_postgres() {
	local major dir version
	[[ -z ${PICLOUD_POSTGRES_BIN:-} ]] || return 0 # chosen by hand; PiCloud itself says if it will not do
	for major in "${postgres_majors[@]}"; do
		dir=/usr/lib/postgresql/$major/bin
		[[ -x $dir/postgres && -x $dir/initdb ]] && return 0
	done
	version=$(postgres -V 2>/dev/null) || return 1
	[[ $version =~ \)\ ([0-9]+) && ${BASH_REMATCH[1]} -ge ${postgres_majors[-1]} ]]
}

has_node() {
	local version
	command -v npm >/dev/null && version=$(node --version 2>/dev/null) || return 1
	version=${version#v}
	[[ ${version%%.*} -ge $min_node ]]
}

# Under the names that the browser test looks for.
has_chromium() {
	local name
	for name in chromium chromium-browser google-chrome; do
		"$name" --version 2>/dev/null | grep -q '[0-9]' && return 0
	done
	return 1
}

has_wrk() { command -v wrk >/dev/null; }

has_systemd() {
	local command
	for command in mmdebstrap systemd-nspawn systemd-sysusers nsenter; do
		command -v "$command" >/dev/null || return 1
	done
}

as_root() {
	if [[ $EUID -eq 0 ]]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		fail "needs root, and there is no sudo here. Run as root: scripts/install.sh $wanted"
	fi
}

apt() {
	as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l \
		apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null >&2
}

install_go() {
	local candidate
	candidate=$(apt-cache policy golang-go | sed -n 's/^ *Candidate: .*:1\.\([0-9]*\).*/\1/p')
	[[ ${candidate:-0} -ge $min_go ]] || fail "this distribution's Go is 1.${candidate:-?}, and 1.$min_go or later is needed." \
		"On Debian 12 install golang-go from bookworm-backports, or unpack https://go.dev/dl into /usr/local/go"
	apt install --no-install-recommends golang-go ca-certificates
}

# Debian's server packages create and start a cluster of the whole system when
# they are first installed. PiCloud keeps its own, so a drop-in forbids that
# while the package is installed.
install_postgres() {
	local major package=
	for major in "${postgres_majors[@]}"; do
		if [[ -n $(apt-cache show "postgresql-$major" 2>/dev/null) ]]; then
			package=postgresql-$major
			break
		fi
	done
	[[ -n $package ]] || fail "this distribution has no Postgres server of version ${postgres_majors[*]}; install one of them"

	local status=0
	as_root mkdir -p "${no_cluster%/*}"
	printf 'create_main_cluster = false\n' | as_root tee "$no_cluster" >/dev/null
	apt install --no-install-recommends "$package" || status=$?
	as_root rm -f "$no_cluster"
	[[ $status -eq 0 ]] || return "$status"
	say "$package is installed without a cluster of the system's (should you want one: pg_createcluster $major main --start)"
}

install_node() {
	apt install --no-install-recommends nodejs npm ca-certificates
	has_node || fail "this distribution's Node.js is $(node --version), and $min_node or later is needed"
}

# Ubuntu's package of that name only fetches a snap, which runs neither in a
# container nor with a profile of ours.
install_chromium() {
	local version
	version=$(apt-cache policy chromium | sed -n 's/^ *Candidate: //p')
	[[ $version =~ ^[0-9] && $version != *snap* ]] ||
		fail "this distribution has no package of Chromium (Ubuntu has it as a snap alone), which the browser test needs:" \
			"bring chromium, chromium-browser or google-chrome onto the PATH, and try again"
	apt install --no-install-recommends chromium
}

install_wrk() { apt install --no-install-recommends wrk; }

install_systemd() { apt install --no-install-recommends mmdebstrap systemd systemd-container util-linux debian-archive-keyring; }

missing=()
wanted=$*
for what in "$@"; do
	case $what in
	go | postgres | node | chromium | wrk | systemd) "has_$what" || missing+=("$what") ;;
	*) fail "knows go, postgres, node, chromium, wrk and systemd, not $what" ;;
	esac
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

command -v apt-get >/dev/null ||
	fail "${missing[*]} missing, and this is no Debian or Ubuntu: install Go 1.$min_go+, a Postgres server 15 to 18, Node.js $min_node+ with npm and, for the tests, Chromium, and try again"

say "missing here: ${missing[*]}; installing from the distribution's packages$([[ $EUID -eq 0 ]] || printf ', with sudo')"
apt update
for what in "${missing[@]}"; do
	"install_$what"
done
