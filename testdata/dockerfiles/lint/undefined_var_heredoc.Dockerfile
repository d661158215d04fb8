FROM scratch
COPY <<A <<"B" /x/
$one \$two '$three'
A
$four
B
RUN <<EOF
$five
EOF
