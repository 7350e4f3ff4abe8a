#!/bin/sh
# Writes .env for docker-compose.yml: .env.example with secrets of its own where a value is empty. Never overwrites.
set -eu
cd "$(dirname "$0")/.."

if [ -e .env ]; then
    echo ".env is there already; it is left as it was." >&2
    exit 0
fi
# So many random bytes as hexadecimal digits.
secret() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

umask 077
trap 'rm -f .env.new' EXIT
while IFS= read -r line; do
    case $line in
        LABEL_STUDIO_PASSWORD=) printf '%s%s\n' "$line" "$(secret 9)" ;; # somebody may have to type it
        [A-Z]*=) printf '%s%s\n' "$line" "$(secret 20)" ;;              # 40 digits are what Label Studio takes for a token
        *) printf '%s\n' "$line" ;;
    esac
done <.env.example >.env.new
mv .env.new .env
echo "Wrote .env. Log in to Label Studio with LABEL_STUDIO_USERNAME and LABEL_STUDIO_PASSWORD from it."
