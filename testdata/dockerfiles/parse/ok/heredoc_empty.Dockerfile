FROM scratch
COPY <<EOF /x
EOF
