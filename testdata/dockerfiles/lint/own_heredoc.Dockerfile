FROM a:1
RUN <<EOF
a
b
EOF
RUN <<EOF
set -e
a
b
EOF
RUN <<EOF
set -o errexit; a
b
EOF
RUN <<EOF
# only one
a && \
  b
EOF
RUN <<EOF
#!/bin/sh
a
b
EOF
RUN <<EOF
a &&
b
EOF
RUN sh <<EOF
a
b
EOF
RUN <<-EOF
	set -eux
	a
	EOF
SHELL ["/bin/bash", "-eo", "pipefail", "-c"]
RUN <<EOF
a
b
EOF
