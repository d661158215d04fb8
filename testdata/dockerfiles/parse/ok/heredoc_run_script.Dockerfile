FROM scratch
RUN <<EOF
apt update

# kept
EOF
RUN b
