# syntax=docker/dockerfile:1
ARG VERSION=3.20
FROM alpine:${VERSION} AS base
WORKDIR /app
COPY . .
RUN make
ENTRYPOINT ["/app/x"]
CMD ["-v"]
EXPOSE 80 53/udp
