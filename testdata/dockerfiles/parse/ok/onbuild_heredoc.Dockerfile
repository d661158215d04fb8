FROM scratch
ONBUILD COPY <<EOF /x
hi
EOF
ONBUILD RUN <<A && <<-B
1
A
	2
	B
