FROM scratch
RUN cat <<A - <<-"B C" > /x && y
a $X
A
	b
	B C
