#!/bin/sh
# Jenkins with an agent in a container that runs as uid 1000: build, keep the log and the report, push.
# environments: docker-unconfined-user
set -eu

echo "$REGISTRY_PASSWORD" | rbuild login -u "$REGISTRY_USER" --password-stdin "$REGISTRY"
# The workspace is kept between builds, and so is a store in it: no registry is needed for the cache.
export RBUILD_ROOT="$WORKSPACE/.rbuild"
status=0
rbuild build --max-used-space 20g --tag "$REGISTRY/$JOB_NAME:$BUILD_NUMBER" . || status=$?
rbuild logs > build.log
rbuild report -o build.html
if [ "$status" = 0 ]; then
    rbuild push "$REGISTRY/$JOB_NAME:$BUILD_NUMBER"
fi
exit "$status"
