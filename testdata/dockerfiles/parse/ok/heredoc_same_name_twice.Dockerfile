FROM scratch
COPY <<A <<A /x/
one
A
two
A
