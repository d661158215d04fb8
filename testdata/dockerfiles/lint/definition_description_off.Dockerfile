# bar is it
ARG foo
# Base is it
FROM scratch AS base
