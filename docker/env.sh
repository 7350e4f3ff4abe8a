#!/bin/sh
# Writes .env for docker-compose.yml: .env.example, with secrets of its own where a value is empty there.
# In a .env that is there it fills in what is empty or missing, and leaves the rest as it is.
set -eu
cd "$(dirname "$0")/.."

# So many random bytes as hexadecimal digits.
secret() {
    made=$(od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n')
    if [ "${#made}" -ne $(($1 * 2)) ]; then
        echo "No random numbers could be read from /dev/urandom; .env was not changed." >&2
        exit 1
    fi
}

umask 077
trap 'rm -f .env.new .env.next' EXIT
if [ -e .env ]; then tr -d '\r' <.env >.env.new; else tr -d '\r' <.env.example >.env.new; fi

filled=
for name in $(tr -d '\r' <.env.example | sed -n 's/^\([A-Z0-9_]*\)=$/\1/p'); do
    if grep -q "^$name=." .env.new; then continue; fi
    case $name in
        LABEL_STUDIO_PASSWORD) secret 9 ;; # somebody may have to type it
        *) secret 20 ;;                    # 40 digits are what Label Studio takes for a token
    esac
    grep -q "^$name=" .env.new || echo "$name=" >>.env.new
    sed "s/^$name=.*/$name=$made/" .env.new >.env.next
    mv .env.next .env.new
    filled="$filled $name"
done

if [ -z "$filled" ]; then
    echo ".env has all that is required; it is left as it was."
    exit 0
fi
mv .env.new .env
echo "Wrote into .env:$filled. Log in with LABEL_STUDIO_USERNAME and LABEL_STUDIO_PASSWORD from there."
