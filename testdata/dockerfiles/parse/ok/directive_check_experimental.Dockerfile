# check=experimental=all;skip=A, B
FROM scratch
