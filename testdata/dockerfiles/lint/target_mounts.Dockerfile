FROM scratch AS one
COPY $a .
FROM scratch AS two
RUN --mount=from=one,target=/x y
FROM scratch
COPY $b .
