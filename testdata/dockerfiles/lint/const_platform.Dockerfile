FROM --platform=linux/amd64 a:1
FROM --platform=linux/amd64 a:1 AS my_amd64_stage
FROM --platform=linux/arm64 a:1 AS linux
ARG P
FROM --platform=${P:-linux/amd64} a:1
