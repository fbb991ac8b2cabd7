#!/bin/bash
# A backup of all databases as they were at one moment: `--oplog` adds what was written meanwhile.
# Users and roles are left out: the operator makes them, with the passwords of this installation.
set -euo pipefail
: "${MONGO_URL:?}" "${MONGO_USERNAME:?}" "${MONGO_PASSWORD:?}" "${MONGO_CA:?}"
: "${BACKUPS:?the folder for backups}" "${KEEP_DAYS:?}" "${KEEP_LEAST:?}"
export LC_ALL=C # names are compared byte by byte
umask 077

name=$(date -u +%Y-%m-%dT%H%M%SZ) # when it began: consumers are rewound to a little before it
partial="$BACKUPS/.$name.partial"
rm -rf "$BACKUPS"/.*.partial # of runs that broke off

# Room for this one: the oldest go, while they are older than KEEP_DAYS, or less is free than the
# newest takes and a quarter more; but never the newest KEEP_LEAST, for this one is not yet good.
backups() { find "$BACKUPS" -mindepth 1 -maxdepth 1 -type d -name '20*Z' -printf '%f\n' | sort; }
too_old=$(date -u -d "$KEEP_DAYS days ago" +%Y-%m-%dT%H%M%SZ)
wanted=$(($(du -sk "$BACKUPS/$(backups | tail -n 1)" | cut -f1) * 5 / 4))
for old in $(backups | head -n "-$KEEP_LEAST"); do
  free=$(df -k --output=avail "$BACKUPS" | tail -n 1)
  [[ $old < $too_old ]] || ((free < wanted)) || break
  rm -rf "${BACKUPS:?}/$old"
  echo "removed $old: it was too old, or $((free / 1024)) MiB too little for the next"
done

config=$(mktemp) # not on the command line, which every process can read
trap 'rm -f "$config"' EXIT
quote="'" # YAML's, doubled within
printf "password: '%s'\n" "${MONGO_PASSWORD//$quote/$quote$quote}" > "$config"

mongodump --config="$config" --uri="$MONGO_URL" --username="$MONGO_USERNAME" \
  --authenticationDatabase=admin --ssl --sslCAFile="$MONGO_CA" \
  --readPreference=secondaryPreferred --oplog --gzip --out="$partial"
rm -rf "$partial/admin"
test -e "$partial/oplog.bson" # else it is of no one moment
(cd "$partial" && find . -type f ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum > SHA256SUMS)
sync
mv "$partial" "$BACKUPS/$name"
echo "backup $name: $(du -sh "$BACKUPS/$name" | cut -f1)"
