FROM scratch
ARG --x A
STOPSIGNAL --y 9
HEALTHCHECK --interval=5s NONE
