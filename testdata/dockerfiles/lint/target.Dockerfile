FROM scratch AS one
COPY $a .
FROM scratch AS two
COPY $b .
FROM one AS three
COPY --from=four /x $c
FROM scratch AS four
COPY $d .
FROM scratch AS five
COPY $e .
