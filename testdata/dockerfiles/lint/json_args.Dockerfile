FROM scratch
CMD a b
FROM scratch
ENTRYPOINT a
FROM scratch AS shell
SHELL ["/x"]
CMD a
FROM shell
ENTRYPOINT b
