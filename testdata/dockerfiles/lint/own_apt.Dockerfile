FROM a:1
RUN apt-get update
RUN apt-get -y update && apt-get install -y x
RUN apt update; apt clean
RUN apt-get update && rm x
RUN --mount=type=cache,target=/var/lib/apt apt-get update
RUN echo apt-getupdate
RUN apt-get install x
RUN <<EOF
set -e
apt-get update
EOF
RUN ["apt-get", "update"]
