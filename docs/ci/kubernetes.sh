#!/bin/sh
# A pod of Kubernetes, as Tekton and Argo run it: build and push with credentials from a mounted secret.
# environments: docker, k8s-userns
set -eu

# The secret of type kubernetes.io/dockerconfigjson, mounted as a directory with `config.json` in it.
export DOCKER_CONFIG=${DOCKER_CONFIG:-/kaniko/.docker}
rbuild build \
    --cache-from "$IMAGE-cache" --cache-to "type=registry,ref=$IMAGE-cache,mode=max" \
    --file "${DOCKERFILE:-Dockerfile}" --tag "$IMAGE:$REVISION" --push "${CONTEXT:-.}"
# What a later task of the pipeline asks for: the digest, without a line end.
rbuild manifest digest "$IMAGE:$REVISION" | tr -d '\n' > "${RESULT:-digest}"
