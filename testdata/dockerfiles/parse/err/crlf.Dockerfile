FROM scratch
FOO
COPY a
