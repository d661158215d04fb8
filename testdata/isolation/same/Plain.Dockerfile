# The same without RUN: it needs no isolation, so it is built everywhere.
FROM scratch
ADD --chown=55:77 rootfs.tar /
COPY --chmod=4750 --chown=1:2 Dockerfile /srv/dir/file
WORKDIR /new/place
