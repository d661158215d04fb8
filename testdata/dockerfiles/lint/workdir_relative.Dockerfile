FROM scratch AS a
WORKDIR app/
WORKDIR more
FROM a
WORKDIR sub
FROM scratch
WORKDIR /x
WORKDIR y
FROM scratch
ENV D=/d
WORKDIR $D
