FROM scratch
RUN --mount=target=/x --network=none <<-EOF
	x
		y
	EOF
