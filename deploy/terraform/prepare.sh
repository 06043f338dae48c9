# Runs before the service, as root of its own container without any capability: new volumes of Fargate are root's, and a
# secret comes as a variable where the service reads a file.
set -eu
chmod 1777 "$TEMPORARY"
printf %s "$KEYS" > "$KEYS_FILE.partial"
chmod 0444 "$KEYS_FILE.partial"
mv "$KEYS_FILE.partial" "$KEYS_FILE"
