# SYNTAX = docker/dockerfile:1 extra
# Escape=`
# check=skip=StageNameCasing,JSONArgsRecommended;error=true
FROM scratch
RUN a`
 b\
