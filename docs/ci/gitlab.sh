#!/bin/sh
# GitLab CI with the docker executor: build, test and push, with results shared through the project's registry.
# environments: docker
set -eu

echo "$CI_REGISTRY_PASSWORD" | rbuild login -u "$CI_REGISTRY_USER" --password-stdin "$CI_REGISTRY"
rbuild check .
rbuild build \
    --cache-from "$CI_REGISTRY_IMAGE/cache" --cache-to "type=registry,ref=$CI_REGISTRY_IMAGE/cache,mode=max" \
    --tag "$CI_REGISTRY_IMAGE:$CI_COMMIT_SHORT_SHA" --push .
# The image is here: its own test needs no registry.
rbuild run "$CI_REGISTRY_IMAGE:$CI_COMMIT_SHORT_SHA" sh -c 'test -e /built'
# On the default branch it gets a name that people pull; nothing moves for that.
if [ "$CI_COMMIT_BRANCH" = "$CI_DEFAULT_BRANCH" ]; then
    rbuild copy "$CI_REGISTRY_IMAGE:$CI_COMMIT_SHORT_SHA" "$CI_REGISTRY_IMAGE:latest"
fi
