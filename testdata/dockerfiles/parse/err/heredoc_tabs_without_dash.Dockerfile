FROM scratch
RUN <<EOF
	EOF
RUN x
