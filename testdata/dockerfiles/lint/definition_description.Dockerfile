# check=experimental=InvalidDefinitionDescription
# bar this is the bar
ARG foo=bar
# BasE it is
FROM scratch AS base
# no
ARG version=latest
# no
ARG foo=baz bar=qux
# version fine
ARG version

# no
#
ARG bit
# no
COPY a b
# check=skip=UndefinedVar
ARG x=$y
