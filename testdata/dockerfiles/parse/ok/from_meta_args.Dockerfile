ARG V=3
ARG W
FROM alpine:${V:-1}${W}
