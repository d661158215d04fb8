ARG T
FROM debian
FROM debian:latest
FROM debian:12
FROM debian@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
FROM scratch
FROM debian:${T:-latest} AS s
FROM s
FROM named
