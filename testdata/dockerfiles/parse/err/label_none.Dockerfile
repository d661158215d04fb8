FROM scratch
LABEL
LABEL a
LABEL a="b" c d
