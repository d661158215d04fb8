FROM scratch
FROM alpine:3.20@sha256:00 AS Base
FROM --platform=$BUILDPLATFORM reg:5000/a/b as x.y-z_1
from base
