#!/bin/sh
# GitHub Actions, in a job with `container:`: build and push to the repository's packages.
# environments: docker
set -eu

registry=${REGISTRY:-ghcr.io}
# Names of images are in lower case, names of repositories need not be.
image=$registry/$(echo "$GITHUB_REPOSITORY" | tr '[:upper:]' '[:lower:]')
echo "$GITHUB_TOKEN" | rbuild login -u "$GITHUB_ACTOR" --password-stdin "$registry"
# Findings become annotations beside the lines, and the file goes to code scanning.
rbuild check --format sarif . > rbuild.sarif
rbuild build \
    --cache-from "$image/cache" --cache-to "type=registry,ref=$image/cache,mode=max" \
    --label "org.opencontainers.image.revision=$GITHUB_SHA" \
    --metadata-file metadata.json --tag "$image:$GITHUB_SHA" --push .
rbuild report -o build.html
