#!/bin/bash
# Puts the databases back as a backup has them. The services must be stopped. BACKUP is its name,
# or `latest`. Collections that the backup has are replaced; others stay.
set -euo pipefail
: "${MONGO_URL:?}" "${MONGO_USERNAME:?}" "${MONGO_PASSWORD:?}" "${MONGO_CA:?}"
: "${BACKUPS:?the folder of backups}" "${BACKUP:?the name of one, or latest}"
umask 077

if [ "$BACKUP" = latest ]; then
  BACKUP=$(find "$BACKUPS" -mindepth 1 -maxdepth 1 -type d -name '20*Z' -printf '%f\n' | sort | tail -n 1)
fi
from="$BACKUPS/$BACKUP"
if [ -z "$BACKUP" ] || [ ! -d "$from" ]; then
  echo "there is no backup '$BACKUP'; there are:" >&2
  find "$BACKUPS" -mindepth 1 -maxdepth 1 -type d -name '20*Z' -printf '%f\n' | sort >&2
  exit 1
fi
echo "restoring $BACKUP" # which of them `latest` is
(cd "$from" && sha256sum --check --quiet SHA256SUMS)
config=$(mktemp)
trap 'rm -f "$config"' EXIT
quote="'" # YAML's, doubled within
printf "password: '%s'\n" "${MONGO_PASSWORD//$quote/$quote$quote}" > "$config"

mongorestore --config="$config" --uri="$MONGO_URL" --username="$MONGO_USERNAME" \
  --authenticationDatabase=admin --ssl --sslCAFile="$MONGO_CA" \
  --drop --oplogReplay --gzip --stopOnError --writeConcern='{w: "majority"}' --dir="$from"
echo "restored $BACKUP: rewind the consumer groups to before it (docs/runbook.md#back-up-and-restore)"
