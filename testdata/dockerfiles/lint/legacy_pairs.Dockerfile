FROM scratch
ENV a b
LABEL c d e
ENV a=b
