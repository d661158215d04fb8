FROM scratch
COPY a <<EOF
x
EOF
ADD a <<EOF
x
EOF
