FROM scratch
COPY <<A <<"B" x /dest/
$one
A
$two
B
COPY --chmod=755 <<-'EOF' /run.sh
	#!/bin/sh
EOF
