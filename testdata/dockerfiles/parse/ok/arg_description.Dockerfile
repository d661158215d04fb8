# VERSION the version to build
ARG VERSION=1

# other words
FROM scratch
# TARGET what to make
ARG TARGET OTHER
