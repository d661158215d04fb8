FROM scratch
RUN <<EOF
FROM x
COPY a
# syntax=1
\
EOF
