ENV a=b
ARG c
FROM scratch
