FROM scratch
RUN a && \
  cat <<EOF
x
EOF
