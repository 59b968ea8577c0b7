#!/usr/bin/env bash
# Makes a Debian root with systemd and PostgreSQL for the appliance's test, once
# for each state of this file, and prints where it is.
# What is in quotes is for mmdebstrap's shell.
# shellcheck disable=SC2016
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/picloud/appliance
mkdir -p "$cache"
recipe=$(sha256sum "$0" | cut -c 1-16)
root=$cache/root-$recipe
if [[ -e $root ]]; then
	echo "$root"
	exit
fi

# What this machine's apt has been told of mirrors and their ages holds for the
# root as well.
options=$(mktemp)
new=$(mktemp -d "$cache/new.XXXXXX")
trap 'rm -rf --one-file-system "$options" "$new"' EXIT
apt-config dump | grep -E '^Acquire::(Check-|http|https|Force|Retries)' >"$options" || true

echo 'making a Debian root; later runs find it' >&2
mmdebstrap --quiet --mode=root --variant=minbase \
	--include=systemd-sysv,dbus,postgresql \
	--aptopt="$options" \
	--essential-hook='mkdir -p "$1/etc/postgresql-common/createcluster.d"' \
	--essential-hook='echo create_main_cluster = false >"$1/etc/postgresql-common/createcluster.d/picloud.conf"' \
	--customize-hook='rm "$1/etc/apt/apt.conf.d/99mmdebstrap"' \
	--customize-hook='rm -rf "$1/usr/share/doc" "$1/usr/share/man" "$1/var/cache/apt/archives"/*.deb' \
	stable "$new" >&2
chmod 0755 "$new"
rm -rf --one-file-system "$cache"/root-*
mv "$new" "$root"
echo "$root"
