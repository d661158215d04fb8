FROM scratch
HEALTHCHECK NONE
healthcheck none
