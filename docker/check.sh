#!/bin/sh
# What `docker compose config` says of each set of files that the README names. Where there is no Docker it cannot be asked;
# the tests hold the files against the Compose specification's own schema everywhere.
set -eu
cd "$(dirname "$0")/.."

if ! docker compose version >/dev/null 2>&1; then
    echo "compose config: not asked, Docker with its compose plugin is not here"
    exit 0
fi

values=$(mktemp)
trap 'rm -f "$values"' EXIT
# Everything that is required, as a user would fill it in.
sed -n 's/^\([A-Z0-9_]*\)=$/\1=value/p' .env.example >"$values"
printf '%s\n' AWS_REGION=eu-west-1 S3_BUCKET=birds SAGEMAKER_ROLE_ARN=arn:aws:iam::111122223333:role/jobs >>"$values"

for files in \
    "-f docker-compose.yml" \
    "-f docker-compose.yml -f compose.aws.yml" \
    "-f docker-compose.yml -f compose.aws.yml -f compose.aws-profile.yml" \
    "-f docker-compose.yml -f compose.aws.yml -f compose.aws-profile.yml -f tests/e2e/compose.account.yml"; do
    # shellcheck disable=SC2086 # the words are options
    docker compose --env-file "$values" $files --profile demo config --quiet
done
echo "compose config: four sets of files, no fault"
